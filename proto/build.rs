//! Compiles every `.proto` under `talktime/` without protoc. Writes the descriptor set that gRPC reflection serves, and
//! the table of the callers of each method.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor, Value};

/// The option by which a method declares its callers.
const ACCESS_OPTION: &str = "talktime.access.v1.access";
/// Begins the names of the values of `Workload`.
const WORKLOAD_PREFIX: &str = "WORKLOAD_";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=talktime");
    let mut protos = Vec::new();
    collect_protos(Path::new("talktime"), &mut protos)?;
    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(&protos)?;

    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    // This encoding keeps the options that prost has no types for.
    fs::write(
        out_dir.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let callers = render_callers(&compiler.descriptor_pool())?;
    fs::write(out_dir.join("method_callers.rs"), callers)?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn collect_protos(dir: &Path, protos: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, protos)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            protos.push(path);
        }
    }
    Ok(())
}

/// Renders the entries of `METHOD_CALLERS`, ordered by path.
fn render_callers(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = pool
        .get_extension_by_name(ACCESS_OPTION)
        .ok_or("access.proto does not define the option")?;
    let mut entries = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            let callers = read_callers(&method, &option)?;
            let path = format!("/{}/{}", service.full_name(), method.name());
            entries.push(format!("({path:?}, &[{}]),", callers.join(", ")));
        }
    }
    entries.sort();
    Ok(format!("&[\n{}\n]", entries.join("\n")))
}

/// Returns the callers that a method declares, as paths of the variants of `Workload`.
fn read_callers(
    method: &MethodDescriptor,
    option: &ExtensionDescriptor,
) -> Result<Vec<String>, Box<dyn Error>> {
    let undeclared = || format!("{} does not declare its callers", method.full_name());
    let options = method.options();
    let access = options.get_extension(option);
    let callers = access
        .as_message()
        .and_then(|access| access.get_field_by_name("callers"))
        .ok_or_else(undeclared)?;
    let callers = callers.as_list().filter(|callers| !callers.is_empty());
    let callers = callers.ok_or_else(undeclared)?.iter();
    callers
        .map(|caller| name_workload(option, caller))
        .collect()
}

/// Returns the path of a variant of `Workload`, such as `Workload::RelayAgent`.
fn name_workload(option: &ExtensionDescriptor, caller: &Value) -> Result<String, Box<dyn Error>> {
    let workload = option
        .parent_pool()
        .get_enum_by_name("talktime.access.v1.Workload")
        .ok_or("access.proto does not define Workload")?;
    let number = caller.as_enum_number().filter(|number| *number != 0);
    let value = number.and_then(|number| workload.get_value(number));
    let value = value.ok_or("a method declares an unknown caller")?;
    let words = value.name().trim_start_matches(WORKLOAD_PREFIX).split('_');
    let variant: String = words
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect();
    Ok(format!("Workload::{variant}"))
}
