"""The manifests of a rendered service: built with kustomize, held against the published schemas and the settings."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pages import blocks
from rendering import DEFAULT, DEPLOYED, MINIMAL, ONLY_DIARIZATION, ONLY_GENAI, Answers, Workshop
from serving import command

VERSIONS = ("1.30", "1.37")
"""The oldest and the newest Kubernetes whose schemas the manifests have to follow."""
OVERLAYS = ("staging", "prod")
KUBERNETES: Mapping[str, Answers] = {
    "default": {**DEFAULT, "deploy": ["kubernetes"]},
    "genai": {**ONLY_GENAI, "deploy": ["kubernetes"]},
    "diarization": {**ONLY_DIARIZATION, "deploy": ["kubernetes"]},
    "none": {**MINIMAL, "deploy": ["kubernetes"]},
    "database": {"capabilities": ["database"], "deploy": ["kubernetes"]},
    "everything": DEPLOYED,
}
PHASES = ("PreSync", "Sync", "PostSync")
"""When Argo CD applies what: objects without a hook in the second phase."""
type Manifest = dict[str, Any]


def built(project: Path, overlay: str) -> list[Manifest]:
    """Return what kustomize makes of an overlay."""
    tools = {"kustomize": ["build"], "kubectl": ["kustomize"]}
    found = [[path, *words] for name, words in tools.items() if (path := shutil.which(name))]
    if not found:
        pytest.skip("needs kustomize or kubectl")
    words = [*found[0], str(project / "deploy" / "overlays" / overlay)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return list(yaml.safe_load_all(done.stdout))


@dataclass(frozen=True)
class Built:
    """Manifests of an overlay, by kind and name without the hash."""

    manifests: list[Manifest]

    def one(self, kind: str, name: str = "my-service") -> Manifest:
        """Return the only one of a kind and a name."""
        (found,) = [each for each in self.manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found

    def pods(self) -> Iterator[Manifest]:
        """Yield what each workload says of its pods."""
        for each in self.manifests:
            if each["kind"] in ("Deployment", "Job"):
                yield each["spec"]["template"]


def component(pod: Manifest) -> str:
    """Return which part of the service a pod is."""
    name: str = pod["metadata"]["labels"]["app.kubernetes.io/component"]
    return name


@pytest.fixture(params=OVERLAYS)
def everything(workshop: Workshop, request: pytest.FixtureRequest) -> Built:
    """Everything that a service with every capability has, in each of its places."""
    return Built(built(workshop.render(DEPLOYED), request.param))


@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_follow_the_published_schemas(workshop: Workshop, name: str, overlay: str) -> None:
    """Whatever was chosen, each manifest is valid in the oldest and the newest release, with no field too many."""
    manifests = built(workshop.render(KUBERNETES[name]), overlay)

    for version in VERSIONS:
        for manifest in manifests:
            kubernetes_validate.validate(manifest, version, strict=True)
    assert {f"my-service-{overlay}"} == {each["metadata"]["namespace"] for each in manifests}
    kinds = [each["kind"] for each in manifests]
    assert ("jobs" in str(KUBERNETES[name])) == (2 == kinds.count("Deployment")) == ("PersistentVolumeClaim" in kinds)
    assert ("database" in str(KUBERNETES[name])) == ("Job" in kinds)


def test_a_wrong_field_is_found(workshop: Workshop) -> None:
    """The schemas are strict: a field that does not exist is an error."""
    manifest = Built(built(workshop.render(DEPLOYED), "prod")).one("Deployment")
    manifest["spec"]["template"]["spec"]["enableServiceLink"] = False

    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_pods_fit_the_restricted_standard(everything: Built) -> None:
    """No root, no token, no capability, no writable files, no variables of neighbours, a known profile."""
    pods = list(everything.pods())
    assert 3 == len(pods)
    for pod in (each["spec"] for each in pods):
        assert (False, False) == (pod["automountServiceAccountToken"], pod["enableServiceLinks"])
        assert "my-service" == pod["serviceAccountName"]
        security = pod["securityContext"]
        assert (True, 10001, "RuntimeDefault") == (
            *(security["runAsNonRoot"], security["runAsUser"]),
            security["seccompProfile"]["type"],
        )
        (container,) = pod["containers"]
        locked = container["securityContext"]
        assert (False, True, ["ALL"]) == (
            *(locked["allowPrivilegeEscalation"], locked["readOnlyRootFilesystem"]),
            locked["capabilities"]["drop"],
        )
        assert {"cpu", "memory", "ephemeral-storage"} == set(container["resources"]["requests"])
        assert {"memory", "ephemeral-storage"} == set(container["resources"]["limits"])
        assert re.fullmatch(r"registry\.example/my-service:.+", container["image"])
        assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert everything.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_the_grace_is_longer_than_everything_it_has_to_hold(everything: Built) -> None:
    """The pause before SIGTERM, the drain and the shutdown end before the platform kills; so do jobs."""
    settings = settings_of(everything)
    pod = everything.one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (_, pause_s) = container["lifecycle"]["preStop"]["exec"]["command"]
    drain_s, shutdown_s, jobs_s = (
        float(settings[f"MY_SERVICE_{name}"]) for name in ("HTTP__DRAIN_S", "HTTP__SHUTDOWN_S", "JOBS__DRAIN_S")
    )
    assert drain_s > 0
    assert float(pause_s) + drain_s + shutdown_s + 3 <= pod["terminationGracePeriodSeconds"]
    worker = everything.one("Deployment", "my-service-worker")["spec"]["template"]["spec"]
    assert jobs_s + 3 <= worker["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_the_page_says_how_long_and_how_many(workshop: Workshop, name: str) -> None:
    """Seconds of the end, numbers of pods, the label of callers and the load are those of the manifests."""
    project = workshop.render(KUBERNETES[name])
    told = re.sub(r"\s+", " ", page(project))
    prod, staging = (Built(built(project, overlay)) for overlay in ("prod", "staging"))
    settings, pod = settings_of(prod), prod.one("Deployment")["spec"]["template"]["spec"]
    (_, pause_s) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    drain_s, shutdown_s = (settings[f"MY_SERVICE_HTTP__{which}_S"] for which in ("DRAIN", "SHUTDOWN"))
    ending = f"{pause_s} s of `preStop` until no endpoint leads here, {drain_s} s of drain, {shutdown_s} s for the rest"
    assert f"**Ending**: {ending}; the grace is {pod['terminationGracePeriodSeconds']} s." in told
    numbers = [place.one("HorizontalPodAutoscaler")["spec"] for place in (prod, staging)]
    least = [each["minReplicas"] for each in numbers]
    load = numbers[0]["metrics"][0]["resource"]["target"]["averageUtilization"]
    alone = f"**Numbers**: {least[0]} pod, because" in told
    assert alone or f"at least {least[0]} in `prod` and {least[1]} in `staging`, more at {load} %" in told
    (label,) = re.findall(r"with the label `([^`=]+)=true`", told)
    sources = prod.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {label: "true"} in [
        each["namespaceSelector"]["matchLabels"] for each in sources if "namespaceSelector" in each
    ]


def test_probes_ask_what_the_service_answers(everything: Built) -> None:
    """Liveness never depends on an engine; readiness does, and waits longer than the service waits for one."""
    (container,) = everything.one("Deployment")["spec"]["template"]["spec"]["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"} == paths
    assert container["readinessProbe"]["timeoutSeconds"] > 2
    assert [("http", 8000)] == [(port["name"], port["containerPort"]) for port in container["ports"]]
    assert ["http"] == [port["targetPort"] for port in everything.one("Service")["spec"]["ports"]]
    (worker,) = everything.one("Deployment", "my-service-worker")["spec"]["template"]["spec"]["containers"]
    assert {"path": "/livez", "port": "operations"} == worker["livenessProbe"]["httpGet"]
    assert [{"name": "operations", "containerPort": int(worker["args"][-1])}] == worker["ports"]
    stated = settings_of(everything)
    assert stated["MY_SERVICE_HTTP__HOST"] == stated["MY_SERVICE_OPS__HOST"]
    assert {"http", "operations"} == {
        port["port"] for rule in everything.one("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]
    }


def test_selectors_meet_their_pods(everything: Built) -> None:
    """What selects pods selects those that it means: the service and its budget no worker, the network all of them."""
    labels = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["labels"] for pod in everything.pods()
    }

    def chosen(selector: Mapping[str, str]) -> set[str]:
        return {name for name, own in labels.items() if selector.items() <= own.items()}

    assert {"service"} == chosen(everything.one("Service")["spec"]["selector"])
    assert {"service"} == chosen(everything.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    policy = everything.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert {"app.kubernetes.io/name"} == set(policy)
    assert {"service", "worker", "migration"} == set(labels) == chosen(policy)
    scaled = everything.one("HorizontalPodAutoscaler")["spec"]
    assert ("Deployment", "my-service") == (scaled["scaleTargetRef"]["kind"], scaled["scaleTargetRef"]["name"])
    assert scaled["minReplicas"] <= scaled["maxReplicas"]
    assert "replicas" not in everything.one("Deployment")["spec"]
    arguments = {component(pod): pod["spec"]["containers"][0].get("args") for pod in everything.pods()}
    assert {"service": None, "worker": ["worker", "--ops-port", "9000"], "migration": ["migrate"]} == arguments


def test_no_secret_stands_in_a_manifest(everything: Built) -> None:
    """Secrets are named, never stated: no Secret is made, and no setting that is one has a value."""
    assert "Secret" not in {each["kind"] for each in everything.manifests}
    for pod in everything.pods():
        (container,) = pod["spec"]["containers"]
        assert [] == [name for name in container.get("env", []) if "value" in name]
    secretive = re.compile(r"KEY|SECRET|PASSWORD|TOKEN|URL", re.IGNORECASE)
    stated = [name for name in settings_of(everything) if not name.endswith("_FILE")]
    assert [] == [name for name in stated if secretive.search(name)]


def settings_of(manifests: Built) -> dict[str, str]:
    """Return the settings that pods get."""
    (found,) = [each for each in manifests.manifests if each["kind"] == "ConfigMap"]
    for pod in manifests.pods():
        (source,) = pod["spec"]["containers"][0]["envFrom"]
        assert found["metadata"]["name"] == source["configMapRef"]["name"]
    data: dict[str, str] = found["data"]
    return data


def page(project: Path) -> str:
    """Return what is said of Kubernetes."""
    return (project / "docs" / "deployment.md").read_text(encoding="utf-8").partition("\n## Kubernetes\n")[2]


def secrets_of(project: Path) -> set[str]:
    """Return the keys of the secret that the page makes."""
    (line,) = [line for block in blocks(page(project)) for line in block.commands if " create secret " in line]
    return set(re.findall(r"--from-(?:file|literal)=([^\s=]+)", line))


@pytest.mark.parametrize("name", KUBERNETES)
def test_what_a_pod_refers_to_exists(workshop: Workshop, name: str) -> None:
    """It is applied with the pod or before it, hooks of Argo CD included; keys of the secret are those of the page."""
    project = workshop.render(KUBERNETES[name])
    manifests = built(project, "prod")

    def phase(manifest: Manifest) -> int:
        return PHASES.index(manifest["metadata"].get("annotations", {}).get("argocd.argoproj.io/hook", "Sync"))

    made = {(each["kind"], each["metadata"]["name"]): phase(each) for each in manifests}
    for each in manifests:
        if each["kind"] in ("Deployment", "Job"):
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            claims = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
            named = [("PersistentVolumeClaim", claim["claimName"]) for claim in claims]
            named += [("ConfigMap", source["configMapRef"]["name"]) for source in container["envFrom"]]
            named.append(("ServiceAccount", pod["serviceAccountName"]))
            assert [] == [one for one in named if made.get(one, len(PHASES)) > phase(each)]
            keys = [one["valueFrom"]["secretKeyRef"] for one in container.get("env", ())]
            assert {key["key"] for key in keys if not key.get("optional")} <= secrets_of(project)


@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_long_work_of_one_process_has_one_pod(workshop: Workshop, name: str, overlay: str) -> None:
    """Nobody else knows it, so that a second pod would answer 404; what is alone can still be moved."""
    manifests = Built(built(workshop.render(KUBERNETES[name]), overlay))
    scaled = manifests.one("HorizontalPodAutoscaler")["spec"]
    alone = name in ("default", "diarization", "database")
    assert alone == (1 == scaled["maxReplicas"])
    assert (overlay == "staging" or alone) == (1 == scaled["minReplicas"])
    assert {"maxUnavailable": 1} == {
        key: value for key, value in manifests.one("PodDisruptionBudget")["spec"].items() if key != "selector"
    }


@pytest.mark.parametrize("name", KUBERNETES)
def test_uploads_fit_where_they_lie(workshop: Workshop, name: str) -> None:
    """As many as the page says: without jobs each lies there twice while it is copied. Beyond that pods are evicted."""
    project = workshop.render(KUBERNETES[name])
    manifests = Built(built(project, "prod"))
    most = settings_of(manifests).get("MY_SERVICE_DIARIZATION__MAX_UPLOAD_BYTES")
    assert ("diarization" in str(KUBERNETES[name].get("objects", "diarization"))) == (most is not None)
    if most is None:
        return
    pod = manifests.one("Deployment")["spec"]["template"]["spec"]
    (folder,) = [volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if volume["name"] == "tmp"]
    limit = pod["containers"][0]["resources"]["limits"]["ephemeral-storage"]
    of_all, of_each = int(folder.removesuffix("Gi")) * 1024**3, int(most)
    assert of_all < int(limit.removesuffix("Gi")) * 1024**3
    told = re.sub(r"\s+", " ", page(project))
    (megabytes,) = re.findall(r"\*\*Uploads\*\* of (\d+) MiB", told)
    (room,) = re.findall(rf"`/tmp` of {folder.removesuffix('Gi')} GiB has room for (\d+) that arrive", told)
    assert int(megabytes) * 1024**2 == of_each
    assert int(room) == of_all // of_each // (1 if "jobs" in str(KUBERNETES[name]) else 2)


@pytest.mark.gate
@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_knows_every_setting(workshop: Workshop, tmp_path: Path, name: str, overlay: str) -> None:
    """With what an overlay proposes, and the secrets of the page, the strict check of the service says nothing.

    Staging proposes no providers, and needs no keys of theirs.
    """
    answers = KUBERNETES[name]
    rendered = workshop.render(answers)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for key in secrets_of(rendered):
        if overlay == "staging" and "PROVIDERS" in key:
            continue
        value = "postgresql://app:secret@db.example/app" if key.endswith("DATABASE__URL") else "key"
        (secrets / key).write_text(value, encoding="utf-8")
    shutil.copytree(rendered / "deploy", tmp_path / "deploy")
    proposed = tmp_path / "deploy" / "overlays" / overlay / "settings.env"
    text = proposed.read_text(encoding="utf-8")
    proposed.write_text(re.sub("^#(?=MY_SERVICE_)", "", text, flags=re.MULTILINE), encoding="utf-8")
    project = workshop.install({key: value for key, value in answers.items() if key != "deploy"})
    given = {**settings_of(Built(built(tmp_path, overlay))), "MY_SERVICE_SECRETS_DIR": str(secrets)}

    complete = command(project, tmp_path, "config", "check", "--strict", "--json", env=given)
    assert (0, "") == (complete.returncode, complete.stderr)
    assert overlay == json.loads(complete.stdout)["environment"]
    misspelt = command(project, tmp_path, "config", "check", "--strict", env={**given, "MY_SERVICE_HTTP__DRAIN": "5"})
    assert 78 == misspelt.returncode
    assert "MY_SERVICE_HTTP__DRAIN" in misspelt.stderr
