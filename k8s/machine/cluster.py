"""An overlay on this machine: its stores, Jobs and processes."""

import time
from concurrent.futures import ThreadPoolExecutor

from machine.network import PodNetwork
from machine.objects import RenderedObjects
from machine.pods import RunningPod
from machine.postgres import PostgresInstances

REPLICAS = 2
READY_SECS = 120
POLL_SECS = 0.2
# A cluster starts the pod of a failed Job again, too.
JOB_TRIES = 40
JOB_PAUSE_SECS = 1
# Containers whose programs this machine does not have.
LEFT_OUT = {"exporter"}


class LocalCluster:
    """All pods of an overlay."""

    def __init__(self, documents, secrets, folder, postgres_instances=1):
        self.objects = RenderedObjects(documents, secrets)
        self.folder = folder
        self.network = PodNetwork(folder.hosts)
        self.pods = {}
        self.postgres = [PostgresInstances(manifest, postgres_instances) for manifest in self.objects.of("Cluster")]
        self._add_pods()
        self._publish_services()

    def _add_pods(self):
        for workload in self.objects.of("StatefulSet"):
            for number in range(workload["spec"]["replicas"]):
                self._add_pod(f"{workload['metadata']['name']}-{number}", workload["spec"])
        for workload in self.objects.of("Deployment"):
            for number in range(REPLICAS):
                self._add_pod(f"{workload['metadata']['name']}-{number}", workload["spec"])
        for workload in self.objects.of("DaemonSet"):
            self._add_pod(f"{workload['metadata']['name']}-0", workload["spec"])
        for instances in self.postgres:
            self.objects.secrets.update(instances.owner_secret())
            for name in instances.names:
                self._add_pod(name, {"template": instances.template(name)})
            self.network.publish(instances.addresses(self.pods))

    def _add_pod(self, name, spec):
        pod = RunningPod(name, spec["template"], self.objects, self.folder, self.network.add())
        for claim in spec.get("volumeClaimTemplates", []):
            pod.claim(claim["metadata"]["name"])
        self.pods[name] = pod

    def _publish_services(self):
        """Publishes the pods of each Service: all by its name, and each by the name of the pod in front of that."""
        for service in self.objects.of("Service"):
            selector, name = service["spec"]["selector"], service["metadata"]["name"]
            chosen = [pod for pod in self.pods.values() if selector.items() <= pod.labels.items()]
            addresses = {f"{pod.name}.{name}": [pod.place.address] for pod in chosen}
            self.network.publish({name: [pod.place.address for pod in chosen], **addresses})

    def bring_up(self):
        """Starts everything in the order of a release: stores, then the Jobs, then processes and relays; and waits until
        each Job has succeeded and each pod is ready.
        """
        self._try_settings()
        stores = [pod for pod in self.pods.values() if "talktime/store" in pod.labels]
        for pod in stores:
            pod.start_all(LEFT_OUT)
        jobs = self.objects.of("Job")
        completed = ThreadPoolExecutor(len(jobs)).map(self._complete_job, jobs)
        self._wait_for(stores, RunningPod.is_ready)
        for failure in filter(None, completed):
            raise RunFailure(failure)
        others = [pod for pod in self.pods.values() if pod not in stores]
        for pod in others:
            pod.start_all(LEFT_OUT)
        self._wait_for(others, RunningPod.is_ready)

    def _try_settings(self):
        """Starts one replica of each process for a moment, since it finds wrong settings before it needs any store."""
        tried = [pod for pod in self.processes() if pod.name.endswith("-0")]
        for pod in tried:
            pod.start_all(LEFT_OUT)
        self._wait_for(tried, RunningPod.has_all_started)
        for pod in tried:
            pod.kill()

    def _complete_job(self, job):
        """Runs a Job, and returns what is wrong if it does not succeed."""
        name = job["metadata"]["name"]
        pod = RunningPod(name, job["spec"]["template"], self.objects, self.folder, self.network.add())
        for _ in range(JOB_TRIES):
            if pod.complete():
                return None
            time.sleep(JOB_PAUSE_SECS)
        return f"the Job {name} does not succeed{pod.tail(pod.spec['containers'][-1]['name'])}"

    def _wait_for(self, waiting, is_reached):
        """Waits until all pods are in a state. A process that ends instead is an error."""
        deadline = time.monotonic() + READY_SECS
        while waiting:
            for pod in waiting:
                for name in pod.ended():
                    raise RunFailure(f"{pod.name}: {name} has ended{pod.tail(name)}")
            waiting = [pod for pod in waiting if not is_reached(pod)]
            if waiting and time.monotonic() > deadline:
                pod = waiting[0]
                tails = "".join(pod.tail(name) for name in pod.running)
                raise RunFailure(f"not ready: {', '.join(p.name for p in waiting)}; the first of them says{tails}")
            time.sleep(POLL_SECS)

    def processes(self):
        """The pods of the platform's own processes."""
        return [pod for pod in self.pods.values() if pod.labels.get("app.kubernetes.io/component") == "server"]


class RunFailure(Exception):
    """What is wrong with a run, as a sentence."""
