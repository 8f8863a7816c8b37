//! Compiles every `.proto` under `talktime/` without protoc. Writes the descriptor set that gRPC reflection serves, and
//! the table of the callers and the actor of each method.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, Value,
};

/// The option by which a method declares its callers, and for whom it acts.
const ACCESS_OPTION: &str = "talktime.access.v1.access";
/// The option of the field that names the user who acts.
const ACTING_USER_OPTION: &str = "talktime.access.v1.acting_user";
/// Begins the names of the values of `Workload`.
const WORKLOAD_PREFIX: &str = "WORKLOAD_";
/// Begins the names of the values of `Actor`.
const ACTOR_PREFIX: &str = "ACTOR_";

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
    // This encoding keeps the options that prost has no types for. It has no comments, which every service that serves
    // reflection would keep in its memory.
    let descriptors = compiler.include_source_info(false);
    fs::write(
        out_dir.join("descriptors.bin"),
        descriptors.encode_file_descriptor_set(),
    )?;
    compiler.include_source_info(true);
    let pool = compiler.descriptor_pool();
    fs::write(out_dir.join("method_access.rs"), render_methods(&pool)?)?;
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

/// Renders the entries of `METHOD_ACCESS`, ordered by path.
fn render_methods(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let find_option = |name: &str| {
        let option = pool.get_extension_by_name(name);
        option.ok_or_else(|| format!("access.proto does not define {name}"))
    };
    let access = find_option(ACCESS_OPTION)?;
    let acting_user = find_option(ACTING_USER_OPTION)?;
    let mut entries = BTreeMap::new();
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let entry = render_method(&path, &method, &access, &acting_user)?;
            entries.insert(path, entry);
        }
    }
    let entries: Vec<String> = entries.into_values().collect();
    Ok(format!("&[\n{}\n]", entries.join("\n")))
}

fn render_method(
    path: &str,
    method: &MethodDescriptor,
    access: &ExtensionDescriptor,
    acting_user: &ExtensionDescriptor,
) -> Result<String, Box<dyn Error>> {
    let callers = read_callers(method, access)?.join(", ");
    let actor = read_actor(method, access)?;
    let mut fields = Vec::new();
    find_acting_users(&method.input(), acting_user, &mut Vec::new(), &mut fields);
    check_acting_users(method, &actor, fields.len())?;
    let fields: Vec<String> = fields.iter().map(|field| format!("&{field:?}")).collect();
    let fields = fields.join(", ");
    Ok(format!(
        "MethodAccess {{ path: {path:?}, callers: &[{callers}], actor: {actor}, user_fields: &[{fields}] }},"
    ))
}

/// Returns the callers that a method declares, as paths of the variants of `Workload`.
fn read_callers(
    method: &MethodDescriptor,
    option: &ExtensionDescriptor,
) -> Result<Vec<String>, Box<dyn Error>> {
    let undeclared = || format!("{} does not declare its callers", method.full_name());
    let access = read_access(method, option).ok_or_else(undeclared)?;
    let callers = access
        .get_field_by_name("callers")
        .ok_or_else(undeclared)?
        .into_owned();
    let callers = callers.as_list().filter(|callers| !callers.is_empty());
    let callers = callers.ok_or_else(undeclared)?.iter();
    callers
        .map(|caller| name_variant(option, "Workload", WORKLOAD_PREFIX, caller))
        .collect()
}

fn read_access(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Option<DynamicMessage> {
    let options = method.options();
    let access = options.get_extension(option);
    access.as_message().cloned()
}

/// Returns for whom a method acts, as the path of a variant of `Actor`.
fn read_actor(
    method: &MethodDescriptor,
    option: &ExtensionDescriptor,
) -> Result<String, Box<dyn Error>> {
    let undeclared = || format!("{} does not declare for whom it acts", method.full_name());
    let access = read_access(method, option).ok_or_else(undeclared)?;
    let actor = access
        .get_field_by_name("acts_for")
        .ok_or_else(undeclared)?;
    let named = name_variant(option, "Actor", ACTOR_PREFIX, &actor);
    named.map_err(|_| undeclared().into())
}

/// Collects the fields of a message that name the user who acts: the numbers of the fields that lead to each.
fn find_acting_users(
    message: &MessageDescriptor,
    option: &ExtensionDescriptor,
    path: &mut Vec<u32>,
    found: &mut Vec<Vec<u32>>,
) {
    for field in message.fields() {
        path.push(field.number());
        if names_acting_user(&field, option) {
            found.push(path.clone());
        } else if let Kind::Message(inner) = field.kind()
            && field.containing_oneof().is_some()
        {
            find_acting_users(&inner, option, path, found);
        }
        path.pop();
    }
}

fn names_acting_user(field: &FieldDescriptor, option: &ExtensionDescriptor) -> bool {
    let is_marked = field.options().get_extension(option).as_bool();
    is_marked == Some(true) && field.kind() == Kind::Int64
}

/// A method for a user has exactly one field that names the user, and a method for nobody has none: otherwise it would be
/// unclear, or easily forgotten, what the user's token is compared with.
fn check_acting_users(
    method: &MethodDescriptor,
    actor: &str,
    fields: usize,
) -> Result<(), Box<dyn Error>> {
    let is_valid = match actor {
        "Actor::User" => fields == 1,
        "Actor::Admin" => fields <= 1,
        _ => fields == 0,
    };
    if is_valid {
        return Ok(());
    }
    let name = method.full_name();
    Err(format!("{name}: {actor} with {fields} fields that name the acting user").into())
}

/// Returns the path of a variant of an enum of `access.proto`, such as `Workload::RelayAgent`.
fn name_variant(
    option: &ExtensionDescriptor,
    of_enum: &str,
    prefix: &str,
    value: &Value,
) -> Result<String, Box<dyn Error>> {
    let descriptor = option
        .parent_pool()
        .get_enum_by_name(&format!("talktime.access.v1.{of_enum}"))
        .ok_or("access.proto does not define an enum")?;
    let number = value.as_enum_number().filter(|number| *number != 0);
    let value = number.and_then(|number| descriptor.get_value(number));
    let value = value.ok_or("a method declares an unknown caller or actor")?;
    let words = value.name().trim_start_matches(prefix).split('_');
    let variant: String = words
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect();
    Ok(format!("{of_enum}::{variant}"))
}
