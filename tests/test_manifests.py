"""deploy/compose.yaml, kubernetes.yaml and jobs-workflow.yml: the linters notice faults, what they run is the relay's,
with its settings, and nothing in them has more rights than it needs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.cli import _parser
from relay.config import VARIABLES
from relay.server.serving import FINISH_SECONDS, LISTEN_ON_SECONDS

ROOT = Path(__file__).parent.parent
COMPOSE, KUBERNETES = ROOT / "deploy" / "compose.yaml", ROOT / "deploy" / "kubernetes.yaml"
LINTERS = {
    COMPOSE: ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"],
    KUBERNETES: ["kubernetes-validate", "--strict", "--quiet"],
}
# The jobs, and how many seconds may pass between two runs of each.
JOBS = {"sweep": 3600, "expire": 900, "notify": 300}
ARGUMENTS = {"sweep": ["--since", "72h"], "expire": [], "notify": ["--to", "env:ONCALL"]}
SCHEDULES = {"sweep": "7 * * * *", "expire": "*/15 * * * *", "notify": "*/5 * * * *"}
# By these settings, beside the four needed ones, a sweep judges as the relay does.
JUDGED_BY = {"STRIPE_ACCOUNTS", "RELAY_UNREFERENCED_SESSIONS", "RELAY_METADATA_KEYS"}
LOCKED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
USER = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def lint(file: Path, shipped: Path) -> subprocess.CompletedProcess[str]:
    program, *options = LINTERS[shipped]
    command = [str(Path(sys.executable).parent / program), *options, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shipped", LINTERS, ids=lambda file: file.name)
def test_linters_accept_the_shipped_files_and_make_check_runs_them(shipped: Path) -> None:
    program, *options = LINTERS[shipped]

    done = lint(shipped, shipped)

    assert done.returncode == 0
    # Where the linter has no schema for a kind it warns, and its status is 0 all the same.
    assert "WARN" not in done.stdout + done.stderr
    assert f'.venv/bin/{program}" {" ".join(options)} deploy/{shipped.name}\n' in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("shipped", "right", "wrong", "told"),
    [
        (COMPOSE, "pids_limit: 64", "pid_limit: 64", "pid_limit"),
        (COMPOSE, "cap_drop: [ALL]", "cap_drop: ALL", "cap_drop"),
        (COMPOSE, "read_only: true", "readonly: true", "readonly"),
        (KUBERNETES, "readOnlyRootFilesystem", "readOnlyRoot", "readOnlyRoot"),
        (KUBERNETES, "minAvailable: 1", "minAvailable: [1]", "minAvailable"),
        (KUBERNETES, "sleep: {seconds: 5}", "sleep: {second: 5}", "second"),
    ],
)
def test_a_fault_is_noticed(tmp_path: Path, shipped: Path, right: str, wrong: str, told: str) -> None:
    text = shipped.read_text()
    assert right in text
    spoiled = tmp_path / shipped.name
    spoiled.write_text(text.replace(right, wrong))

    done = lint(spoiled, shipped)

    assert done.returncode != 0
    assert told in done.stdout + done.stderr


def test_an_api_version_that_is_gone_would_be_a_warning(tmp_path: Path) -> None:
    old = tmp_path / KUBERNETES.name
    old.write_text(KUBERNETES.read_text().replace("policy/v1", "policy/v1beta1"))

    done = lint(old, KUBERNETES)

    assert "WARN" in done.stdout + done.stderr


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def documents(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in yaml.safe_load_all(KUBERNETES.read_text()) if one["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """The specification of each pod, by its component."""
    templates = [one["spec"]["template"] for one in documents("Deployment").values()]
    templates += [one["spec"]["jobTemplate"]["spec"]["template"] for one in documents("CronJob").values()]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"] for one in templates}


def test_compose_runs_the_relay_and_the_jobs_with_no_more_rights_than_they_need() -> None:
    assert services().keys() == {"relay", *JOBS}
    for service in services().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["env_file"] == ["../.env"]
        assert "privileged" not in service
        assert "volumes" not in service


def test_compose_gives_the_relay_its_time_and_an_address_of_this_machine_alone() -> None:
    relay = services()["relay"]

    assert int(relay["stop_grace_period"].removesuffix("s")) > LISTEN_ON_SECONDS + FINISH_SECONDS
    assert relay["ports"] == [f"127.0.0.1:8080:{relay['environment']['RELAY_PORT']}"]
    assert relay["environment"].keys() <= VARIABLES.keys()
    assert "entrypoint" not in relay
    assert "command" not in relay


@pytest.mark.parametrize("job", JOBS)
def test_compose_runs_each_job_again_and_again_whatever_its_status(tmp_path: Path, job: str) -> None:
    """The shell runs the line as it stands; `relay` and `sleep` write down what they were asked."""
    service, said = services()[job], tmp_path / "said"
    for name, after in (("relay", "exit 1"), ("sleep", f'[ "$(wc -l < "{said}")" -lt 4 ] || kill "$PPID"')):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{said}"\n{after}\n')
        program.chmod(0o755)

    subprocess.run(
        [*service["entrypoint"], *service["command"]],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        check=False,
        timeout=60,
    )

    command = " ".join(["relay", job, *ARGUMENTS[job]])
    assert said.read_text().splitlines() == [command, f"sleep {JOBS[job]}"] * 2
    assert service["init"] is True
    assert ("args" in service["build"], "profiles" in service) == (job == "notify",) * 2


def test_kubernetes_holds_a_relay_its_service_and_the_jobs() -> None:
    assert {kind: list(documents(kind)) for kind in ("Deployment", "Service", "PodDisruptionBudget", "CronJob")} == {
        "Deployment": ["relay"],
        "Service": ["relay"],
        "PodDisruptionBudget": ["relay"],
        "CronJob": [f"relay-{job}" for job in JOBS],
    }
    assert {
        name.removeprefix("relay-"): one["spec"]["schedule"] for name, one in documents("CronJob").items()
    } == SCHEDULES


@pytest.mark.parametrize("component", ["relay", *JOBS])
def test_every_pod_is_locked_down_and_hears_of_no_service_by_its_environment(component: str) -> None:
    pod = pods()[component]
    (container,) = pod["containers"]

    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == USER
    assert container["securityContext"] == LOCKED
    assert container["envFrom"] == [{"secretRef": {"name": "relay"}}]
    assert "limits" in container["resources"]
    assert pod.get("volumes") is None


def test_the_user_is_the_images() -> None:
    assert f"\nUSER {USER['runAsUser']}:{USER['runAsGroup']}\n" in (ROOT / "Containerfile").read_text()


def test_probes_restart_by_healthz_and_route_by_readyz() -> None:
    (container,) = pods()["relay"]["containers"]
    (service,) = documents("Service").values()

    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert container["env"][1] == {"name": "RELAY_PORT", "value": "8080"}
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]


def test_service_and_budget_mean_the_relays_and_no_job() -> None:
    labels = {
        component: {"app.kubernetes.io/name": "order-group-relay", "app.kubernetes.io/component": component}
        for component in ("relay", *JOBS)
    }
    (deployment,) = documents("Deployment").values()

    assert deployment["spec"]["selector"]["matchLabels"] == labels["relay"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == labels["relay"]
    assert documents("Service")["relay"]["spec"]["selector"] == labels["relay"]
    assert documents("PodDisruptionBudget")["relay"]["spec"]["selector"] == {"matchLabels": labels["relay"]}
    assert {name: one["spec"]["jobTemplate"] for name, one in documents("CronJob").items()}.keys() == {
        f"relay-{job}" for job in JOBS
    }


def test_a_pod_that_goes_has_the_time_that_a_relay_takes_at_most() -> None:
    pod = pods()["relay"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] >= pause + LISTEN_ON_SECONDS + FINISH_SECONDS


@pytest.mark.parametrize("component", ["relay", *JOBS])
def test_the_relay_knows_the_words_of_each_container(component: str) -> None:
    (container,) = pods()[component]["containers"]
    words = ["serve"] if component == "relay" else [component, *ARGUMENTS[component]]

    assert container["args"] == words
    assert _parser().parse_args(words)
    assert container["image"] == ("RELAY_NOTIFY_IMAGE" if component == "notify" else "RELAY_IMAGE")


def test_the_documented_line_fills_in_every_image() -> None:
    page = (ROOT / "docs" / "hosts.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("sed "))
    script = line.partition(" | kubectl")[0]

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "RELAY_IMAGE": "a/b@sha256:1", "RELAY_NOTIFY_IMAGE": "a/b@sha256:2"},
        capture_output=True,
        text=True,
        check=True,
    )

    images = re.findall(r"^ +image: (.*)$", done.stdout, re.MULTILINE)
    assert images == ["a/b@sha256:1"] * 3 + ["a/b@sha256:2"]


def jobs_workflow() -> dict[Any, Any]:
    """What GitHub's runners run by the clock."""
    workflow: dict[Any, Any] = yaml.safe_load((ROOT / "deploy" / "jobs-workflow.yml").read_text())
    return workflow


def test_the_runners_give_the_jobs_each_setting_by_which_a_relay_judges() -> None:
    shown = jobs_workflow()["jobs"]["jobs"]["steps"][-1]["env"]
    settings = {name: value for name, value in shown.items() if name in VARIABLES}

    assert VARIABLES.keys() - settings.keys() == {
        "RELAY_HOST", "RELAY_PORT", "RELAY_LOG_LEVEL", "RELAY_RPC_TIMEOUT", "STRIPE_API_BASE",
        "STRIPE_WEBHOOK_TOLERANCE", "STRIPE_LIFECYCLE_WEBHOOK_SECRET",
    }  # fmt: skip
    for name, value in settings.items():
        assert value == f"${{{{ {'vars' if name in JUDGED_BY else 'secrets'}.{name} }}}}"


@pytest.mark.parametrize(
    ("schedule", "jobs"),
    [
        ("7 * * * *", ["sweep --since 72h", "expire", "notify --to env:ONCALL"]),
        ("*/15 * * * *", ["expire", "notify --to env:ONCALL"]),
        ("", ["sweep --since 72h", "expire", "notify --to env:ONCALL"]),  # by hand
    ],
)
@pytest.mark.parametrize("status", [0, 1])
def test_the_runners_run_each_job_whatever_the_others_have_come_to(
    tmp_path: Path, schedule: str, jobs: list[str], status: int
) -> None:
    """As a runner's shell does; `relay` writes down what it was asked."""
    relay = tmp_path / "venv" / "bin" / "relay"
    relay.parent.mkdir(parents=True)
    relay.write_text(f'#!/bin/sh\necho "$*" >> said\nexit {status}\n')
    relay.chmod(0o755)
    step = jobs_workflow()["jobs"]["jobs"]["steps"][-1]

    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env={"SCHEDULE": schedule, "PATH": os.environ["PATH"]},
        check=False,
    )

    assert (tmp_path / "said").read_text().splitlines() == jobs
    assert done.returncode == status


def test_a_run_on_the_runners_is_replaced_by_none_but_of_its_own_schedule() -> None:
    workflow = jobs_workflow()

    assert [one["cron"] for one in workflow[True]["schedule"]] == [
        "7 * * * *",
        "*/15 * * * *",
    ]  # YAML reads `on` as true
    assert workflow["concurrency"] == {"group": "jobs ${{ github.event.schedule }}", "cancel-in-progress": False}
    assert "concurrency" not in workflow["jobs"]["jobs"]
