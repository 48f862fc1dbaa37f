"""serving/deploy: files of others, held against those others' definitions."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import promql_parser
import pytest
import requests
import yaml
from google.protobuf import text_format
from grafana_foundation_sdk.models.dashboard import Dashboard
from tensorflow_serving.config import model_server_config_pb2

from serving.batching_options import BatchingOptions
from serving.protos import server_config_pb2
from serving.server_process import free_port, wait_until_serving
from tests.serving.saved_models import save_half_plus
from tests.serving.server_process import serving

_DEPLOY = Path("serving/deploy")
_KUBERNETES = _DEPLOY / "kubernetes"
_CONFIG = _DEPLOY / "config"
_KUBERNETES_VERSION = "1.33"
# Parts of objects, which only kustomize puts together.
_PATCHES = {_KUBERNETES / "gpu/gpu.yaml", _KUBERNETES / "gpu/autoscaler.yaml"}
_ADAPTER = _KUBERNETES / "gpu/prometheus_adapter.yaml"


def documents(file):
    return list(yaml.safe_load_all(file.read_text()))


def check_objects(objects):
    for item in objects:
        kubernetes_validate.validate(item, _KUBERNETES_VERSION, strict=True)


def compose_services():
    (compose,) = documents(_DEPLOY / "docker-compose.yaml")
    return compose["services"]


def deployment(objects):
    (found,) = (x for x in objects if x["kind"] == "Deployment")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return container


def entry_point():
    text = (_DEPLOY / "Dockerfile").read_text().replace("\\\n", "")
    return json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])


def expressions():
    """The PromQL of the dashboard, the alerts and the adapter."""
    path = _DEPLOY / "grafana/dashboards/facegcn.json"
    panels = json.loads(path.read_text())["panels"]
    rows = [panel for row in panels for panel in row.get("panels") or ()]
    for panel in panels + rows:
        for target in panel.get("targets") or ():
            text = target["expr"].replace("[$__rate_interval]", "[1m]")
            yield text.replace("$model", ".*")
    (alerts,) = documents(_DEPLOY / "prometheus/alerts.yaml")
    for group in alerts["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    (adapter,) = documents(_ADAPTER)
    for rule in adapter["rules"]["custom"]:
        yield rule["seriesQuery"]


def metrics_of(expression):
    """Names of the metrics that a PromQL expression reads."""
    found = set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for name in ("expr", "lhs", "rhs", "vector_selector"):
            child = getattr(node, name, None)
            if child is not None:
                visit(child)
        for child in getattr(node, "args", ()) or ():
            visit(child)

    visit(promql_parser.parse(expression))
    return found


def test_text_protos():
    def parse(name, message):
        return text_format.Parse((_CONFIG / name).read_text(), message)

    models = parse("models.config", model_server_config_pb2.ModelServerConfig())
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path) == ("facegcn", "/models/facegcn")
    batching = parse("batching.config", server_config_pb2.BatchingParameters())
    options = BatchingOptions.of_parameters(batching)
    assert options.max_batch_size == options.allowed_sizes[-1] == 16
    monitoring = parse(
        "monitoring.config", server_config_pb2.MonitoringConfig()
    )
    path = monitoring.prometheus_config.path
    (prometheus,) = documents(_DEPLOY / "prometheus/prometheus.yaml")
    assert prometheus["scrape_configs"][0]["metrics_path"] == path
    (kustomization,) = documents(_CONFIG / "kustomization.yaml")
    assert kustomization["configMapGenerator"][0]["files"] == sorted(
        file.name for file in _CONFIG.glob("*.config")
    )


def test_every_yaml_file_is_parsed():
    files = [*_DEPLOY.rglob("*.yaml"), *_DEPLOY.rglob("*.yml")]
    assert len(files) >= 15
    for file in files:
        assert all(isinstance(item, dict) for item in documents(file)), file


def test_kubernetes_objects_fit_the_schemas():
    objects = [
        item
        for file in sorted(_KUBERNETES.rglob("*.yaml"))
        if file not in _PATCHES | {_ADAPTER}
        and file.name != "kustomization.yaml"
        for item in documents(file)
    ]
    check_objects(objects)
    assert {item["kind"] for item in objects} == {
        "Deployment",
        "HorizontalPodAutoscaler",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
    }
    container = deployment(objects)
    port = container["ports"][0]["containerPort"]
    assert container["readinessProbe"]["grpc"]["port"] == port


def test_the_schemas_refuse_what_is_wrong():
    (wrong,) = documents(_KUBERNETES / "base/deployment.yaml")
    wrong["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        check_objects([wrong])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is missing")
@pytest.mark.parametrize("name", ["base", "gpu"])
def test_kustomize_puts_them_together(name):
    folder = _KUBERNETES / name
    built = subprocess.run(
        ["kubectl", "kustomize", folder],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    objects = list(yaml.safe_load_all(built))
    check_objects(objects)
    container = deployment(objects)
    gpu = name == "gpu"
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == gpu
    assert container["image"].endswith("-gpu") == gpu
    assert ("--enable_batching=true" in container["args"]) == gpu
    (scaler,) = (x for x in objects if x["kind"] == "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    assert metric["type"] == ("Pods" if gpu else "Resource")
    if gpu:
        (adapter,) = documents(_ADAPTER)
        name = adapter["rules"]["custom"][0]["name"]["as"]
        assert metric["pods"]["metric"]["name"] == name
    (config,) = (x for x in objects if x["kind"] == "ConfigMap")
    volumes = next(
        x["spec"]["template"]["spec"]["volumes"]
        for x in objects
        if x["kind"] == "Deployment"
    )
    assert config["metadata"]["name"] in str(volumes)


@pytest.mark.slow
def test_compose_fits_the_schema():
    schema = "--builtin-schema=vendor.compose-spec"
    subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *(schema, _DEPLOY / "docker-compose.yaml"),
        ],
        check=True,
    )


def test_compose_mounts_files_that_are_there():
    for service in compose_services().values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (_DEPLOY / source).exists(), source


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is missing")
def test_prometheus_reads_its_configuration():
    file = _DEPLOY / "prometheus/prometheus.yaml"
    subprocess.run(["promtool", "check", "config", file], check=True)


def test_dashboard_is_one_of_grafana():
    path = _DEPLOY / "grafana/dashboards/facegcn.json"
    text = json.loads(path.read_text())
    dashboard = Dashboard.from_json(text)
    assert dashboard.uid == text["uid"] == "facegcn-serving"
    (sources,) = documents(_DEPLOY / "grafana/datasources.yaml")
    uid = sources["datasources"][0]["uid"]
    panels = [x for x in text["panels"] if x["type"] != "row"]
    assert len(panels) >= 10
    assert {panel["datasource"]["uid"] for panel in panels} == {uid}
    (providers,) = documents(_DEPLOY / "grafana/providers.yaml")
    folder = providers["providers"][0]["options"]["path"]
    mounts = compose_services()["grafana"]["volumes"]
    assert f"./grafana/dashboards:{folder}:ro" in mounts


def test_image_compose_and_kubernetes_run_the_same_command():
    (base,) = documents(_KUBERNETES / "base/deployment.yaml")
    container = deployment([base])
    service = compose_services()["serving"]
    command = entry_point()
    assert service["entrypoint"] + service["command"] == command
    assert container["command"] + container["args"] == command
    assert container["image"] in service["image"].replace(
        "${TF_SERVING_TAG:-2.21.0}", "2.21.0"
    )


@pytest.mark.slow
def test_the_command_the_health_check_and_every_metric(tmp_path):
    """The very command, here with `facegcn serve`, does what others rely on."""
    save_half_plus(tmp_path / "models/facegcn/1", 1)
    config = tmp_path / "config"
    shutil.copytree(_CONFIG, config)
    models = config / "models.config"
    text = models.read_text().replace("/models/", f"{tmp_path}/models/")
    models.write_text(text)
    port, rest_port = free_port(), free_port()
    flags = [
        flag.replace("=8500", f"={port}")
        .replace("=8501", f"={rest_port}")
        .replace("/etc/facegcn", str(config))
        for flag in entry_point()[1:]
    ]
    batching = f"--batching_parameters_file={config}/batching.config"
    with serving(*flags, "--enable_batching=true", batching) as (process, _):
        wait_until_serving(f"localhost:{port}", process)
        service = compose_services()["serving"]
        check = service["healthcheck"]["test"][1:]
        check[-1] = check[-1].replace("8501", str(rest_port))
        assert subprocess.run(check, timeout=20, check=False).returncode == 0
        check[-1] = check[-1].replace("AVAILABLE", "GONE")
        assert subprocess.run(check, timeout=20, check=False).returncode == 1
        url = f"http://127.0.0.1:{rest_port}"
        answer = requests.post(
            f"{url}/v1/models/facegcn:predict",
            json={"instances": [1.0]},
            timeout=20,
        )
        assert answer.ok
        (prometheus,) = documents(_DEPLOY / "prometheus/prometheus.yaml")
        path = prometheus["scrape_configs"][0]["metrics_path"]
        exported = requests.get(f"{url}{path}", timeout=20).text
    names = {re.split(r"[ {]", line)[0] for line in exported.splitlines()}
    asked = set().union(*map(metrics_of, expressions()))
    assert len(asked) >= 10
    # Prometheus itself makes this one.
    assert asked - names == {"up"}
