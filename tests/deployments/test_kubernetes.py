"""The Kubernetes files: core objects by the API's models, Ray's by Ray's own reader, flow runs by Prefect's own worker."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import kubernetes_asyncio.client.models as models
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from deployments.services import WORK_POOL
from tests.deployments.infrastructure import constraints, everywhere, flow_run, kubernetes, ray_job

CORE = {
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "Namespace": "V1Namespace",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "ServiceAccount": "V1ServiceAccount",
}
SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}

#: Fields of KubeRay's API ray.io/v1 that are used here, and their types; no package ships its schema.
RAY = {
    "RayCluster": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayClusterSpec"},
    "RayClusterSpec": {
        "rayVersion": "str",
        "authOptions": "AuthOptions",
        "enableInTreeAutoscaling": "bool",
        "autoscalerOptions": "AutoscalerOptions",
        "headGroupSpec": "HeadGroupSpec",
        "workerGroupSpecs": "list[WorkerGroupSpec]",
    },
    "AuthOptions": {"mode": "str"},
    "AutoscalerOptions": {"idleTimeoutSeconds": "int", "upscalingMode": "str", "resources": "V1ResourceRequirements"},
    "HeadGroupSpec": {"rayStartParams": "dict(str, str)", "serviceType": "str", "template": "V1PodTemplateSpec"},
    "WorkerGroupSpec": {
        "groupName": "str",
        "replicas": "int",
        "minReplicas": "int",
        "maxReplicas": "int",
        "numOfHosts": "int",
        "rayStartParams": "dict(str, str)",
        "template": "V1PodTemplateSpec",
    },
    "RayJob": {"apiVersion": "str", "kind": "str", "metadata": "V1ObjectMeta", "spec": "RayJobSpec"},
    "RayJobSpec": {
        "clusterSelector": "dict(str, str)",
        "entrypoint": "str",
        "entrypointNumCpus": "float",
        "submissionMode": "str",
        "runtimeEnvYAML": "str",
        "ttlSecondsAfterFinished": "int",
        "backoffLimit": "int",
    },
}


def faults(value: Any, kind: str, at: str) -> list[str]:
    """What of a value is not as the API's type says."""
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{at} is no list"]
        return [fault for number, part in enumerate(value) for fault in faults(part, listed[1], f"{at}[{number}]")]
    if mapped := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            return [f"{at} is no map"]
        return [fault for name, part in value.items() for fault in faults(part, mapped[1], f"{at}.{name}")]
    if kind in SCALARS:
        right = isinstance(value, SCALARS[kind]) and not (kind in ("int", "float") and isinstance(value, bool))
        return [] if right else [f"{at} is {value!r}, no {kind}"]
    if kind.startswith("IntOrString"):
        return [] if isinstance(value, (int, str)) else [f"{at} is {value!r}"]
    found = []
    if kind in RAY:
        types = RAY[kind]
    else:
        model = getattr(models, kind)
        types = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
        try:  # it insists on what must be there
            model(**{name: value.get(json_name) for name, json_name in model.attribute_map.items()})
        except ValueError as error:
            found.append(f"{at}: {error}")
    for name, part in value.items():
        found += faults(part, types[name], f"{at}.{name}") if name in types else [f"{at}.{name} is unknown"]
    return found


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return kubernetes()


@pytest.fixture(scope="module")
def cluster(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == "RayCluster"]
    return found


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """What the Prefect worker makes of flow-run.json for one flow run."""

    async def made() -> KubernetesWorkerJobConfiguration:
        client = PrefectClient("http://127.0.0.1:9/api")  # asked for nothing, as the template names no block
        return await KubernetesWorkerJobConfiguration.from_template_and_values(flow_run(), {}, client=client)

    configuration = asyncio.run(made())
    configuration.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="some-run"))
    return configuration.job_manifest


def test_every_object_is_as_the_api_says(objects: list[dict[str, Any]]) -> None:
    assert {one["kind"] for one in objects} == {*CORE, "RayCluster"}
    for one in objects:
        assert faults(one, CORE.get(one["kind"], one["kind"]), one["kind"]) == []
    assert faults(ray_job(), "RayJob", "RayJob") == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["spec", "replicas"], "1", "Deployment.spec.replicas is '1', no int"),
        (
            ["spec", "template", "spec", "serviceAcountName"],
            "x",
            "Deployment.spec.template.spec.serviceAcountName is unknown",
        ),
        (["spec", "selector"], None, "Deployment.spec: Invalid value for `selector`, must not be `None`"),
    ],
)
def test_a_mistake_in_an_object_would_be_found(path: list[str], value: Any, complaint: str) -> None:
    (deployment,) = [one for one in kubernetes() if one["kind"] == "Deployment"]
    *groups, name = path
    part = deployment
    for group in groups:
        part = part[group]
    if value is None:
        del part[name]
    else:
        part[name] = value
    assert faults(deployment, "V1Deployment", "Deployment") == [complaint]


def test_rays_autoscaler_reads_the_cluster(cluster: dict[str, Any]) -> None:
    groups = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    assert groups["headgroup"]["resources"]["CPU"] == 0
    assert (groups["cpu"]["min_workers"], groups["cpu"]["resources"]["CPU"]) == (1, 4)
    assert (groups["gpu"]["min_workers"], groups["gpu"]["resources"]["GPU"]) == (0, 1)


def test_the_cluster_has_the_ray_of_the_image(cluster: dict[str, Any]) -> None:
    assert cluster["spec"]["rayVersion"] == constraints()["ray"]


def test_workers_may_run_on_spot_nodes_and_only_gpu_workers_on_gpu_nodes(cluster: dict[str, Any]) -> None:
    tolerated = {
        group["groupName"]: {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}
        for group in cluster["spec"]["workerGroupSpecs"]
    }
    assert all("cloud.google.com/gke-spot" in keys for keys in tolerated.values())
    assert {name for name, keys in tolerated.items() if "nvidia.com/gpu" in keys} == {"gpu"}


def test_prefects_worker_makes_a_job_of_a_flow_run(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    assert (pod.pop("completions"), pod.pop("parallelism")) == (
        1,
        1,
    )  # Prefect wants them there; Kubernetes overlooks them
    assert faults(job, "V1Job", "Job") == []
    (container,) = pod["containers"]
    assert [*container["command"], *container["args"]] == ["join-ray", "prefect", "flow-run", "execute"]


def test_a_flow_run_finds_the_ray_cluster_and_its_token(job: dict[str, Any], cluster: dict[str, Any]) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    name = cluster["metadata"]["name"]
    (head,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    (port,) = [port["containerPort"] for port in head["ports"] if port["name"] == "gcs-server"]
    assert variables["RAY_ADDRESS"]["value"] == f"{name}-head-svc:{port}"
    assert variables["RAY_AUTH_MODE"]["value"] == cluster["spec"]["authOptions"]["mode"]
    assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": name, "key": "auth_token"}
    assert ray_job()["spec"]["clusterSelector"] == {"ray.io/cluster": name}


def test_what_an_object_names_is_there(objects: list[dict[str, Any]], job: dict[str, Any]) -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for reference in everywhere([objects, job], "configMapRef"):
        assert ("ConfigMap", reference["name"]) in names
    for account in everywhere([objects, job], "serviceAccountName"):
        assert ("ServiceAccount", account) in names
    for volume in everywhere(objects, "configMap"):
        assert ("ConfigMap", volume["name"]) in names
    (binding,) = [one for one in objects if one["kind"] == "RoleBinding"]
    assert ("Role", binding["roleRef"]["name"]) in names
    assert {(one["kind"], one["name"]) for one in binding["subjects"]} <= names
    namespaces = {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"}
    assert namespaces == {job["metadata"]["namespace"]} == {"vidclf"}


def test_secrets_are_named_and_never_given(objects: list[dict[str, Any]], job: dict[str, Any]) -> None:
    assert not [one for one in objects if one["kind"] == "Secret"]
    (settings,) = [
        one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "vidclf-settings"
    ]
    assert not [name for name in settings["data"] if re.search("KEY|SECRET|PASSWORD|TOKEN", name)]
    values = [one for one in everywhere([objects, job], "env") if isinstance(one, list)]
    for variable in (variable for variables in values for variable in variables):
        assert "value" not in variable or not re.search("KEY|SECRET|PASSWORD|TOKEN", variable["name"])


def test_nothing_runs_as_root(objects: list[dict[str, Any]], job: dict[str, Any]) -> None:
    for pod in (spec for spec in everywhere([objects, job], "spec") if "containers" in spec):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_image_of_flow_runs_is_the_workers(objects: list[dict[str, Any]], job: dict[str, Any]) -> None:
    images = set(everywhere(objects, "image")) | set(everywhere(job, "image"))
    assert len(images) == 1
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    (deploy,) = deployment["spec"]["template"]["spec"]["initContainers"]
    default = flow_run()["variables"]["properties"]["image"]["default"]
    assert f"s|{default}|$IMAGE|" in deploy["args"][0]
    assert {one["name"]: one["value"] for one in deploy["env"]}["IMAGE"] in images


def test_the_worker_serves_the_pool_of_the_deployments(objects: list[dict[str, Any]]) -> None:
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    assert arguments[arguments.index("--pool") + 1] == WORK_POOL
    assert f"--overwrite {WORK_POOL}\n" in pod["initContainers"][0]["args"][0]
    (watched,) = pod["containers"][0]["env"]
    assert watched["value"] == deployment["metadata"]["namespace"]
