"""docs/cluster.md and the templates for clusters: their keys, verbs, flags and recipe blocks exist."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from chexalign.cli.main import VERBS, _parser
from chexalign.recipe.engines import ClusterSpec
from chexalign.recipe.load import recipe_names

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
SBATCH = ROOT / "recipes" / "slurm" / "ray_sample.sbatch"
RAYJOB = ROOT / "recipes" / "kubernetes" / "rayjob.yml"


def given(setting: str) -> ClusterSpec:
    """The block that `--set cluster={...}` makes."""
    key, _, value = setting.partition("=")
    assert key == "cluster"
    return ClusterSpec.model_validate(yaml.safe_load(value))


def parsed(words: list[str], verb: str) -> ClusterSpec:
    """The cluster of a command of ours, whose verb and flags must exist."""
    assert words[:4] == ["python", "-m", "chexalign.cli.main", verb]
    args = _parser(verb, importlib.import_module(VERBS[verb][0])).parse_args(words[4:])
    assert args.runs
    return given(args.set[0])


def test_every_key_is_named_and_the_examples_are_blocks_of_a_recipe():
    assert [name for name in ClusterSpec.model_fields if f"| `{name}` |" not in PAGE] == []
    block = re.search(r"^    cluster:\n(?:^      .*\n)+", PAGE, re.MULTILINE)
    assert block is not None
    assert ClusterSpec.model_validate(yaml.safe_load(block[0])["cluster"]).actors == 8
    settings = re.findall(r'--set "([^"]+)"', PAGE)
    assert [given(s).gpus_per_actor for s in settings] == [1]


def test_the_slurm_template_starts_commands_that_exist():
    text = SBATCH.read_text()
    assert "Not run on a Slurm cluster" in text
    assert subprocess.run(["bash", "-n", str(SBATCH)], check=False).returncode == 0
    command = text.split("disable-usage-stats -- \\\n")[1].replace("\\\n", " ")
    for verb in ("sample", "judge", "run"):
        values = {"$verb": verb, "$recipe": "demo", "$runs": "runs", "$actors": "8"}
        filled = re.sub(r"\$\w+", lambda found, values=values: values[found[0]], command)
        assert parsed(shlex.split(filled), verb) == ClusterSpec(actors=8, gpus_per_actor=1)


def test_rays_own_command_takes_the_flags_of_the_slurm_template():
    pytest.importorskip("ray")
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import symmetric_run

    options = re.findall(r"(?<=\s)--[a-z-]+", SBATCH.read_text().split("srun ray symmetric-run")[1].split(" -- ")[0])
    known = {name for command in (start, symmetric_run) for option in command.params for name in option.opts}
    assert set(options) >= {"--address", "--min-nodes", "--num-gpus", "--include-dashboard"}
    assert set(options) <= known


def test_the_kubernetes_template_is_a_ray_job_with_shared_storage():
    text = RAYJOB.read_text()
    assert "Not run on Kubernetes." in text
    job = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert spec["rayVersion"] == pins["ray"]
    (workers,) = spec["workerGroupSpecs"]
    asked = parsed(shlex.split(job["spec"]["entrypoint"]), "sample")
    assert asked.actors == workers["replicas"]
    pods = [spec["headGroupSpec"]["template"]["spec"], workers["template"]["spec"]]
    for pod in pods:
        (container,) = pod["containers"]
        assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
        assert pod["volumes"][0]["persistentVolumeClaim"]
    assert int(pods[1]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) == asked.gpus_per_actor


def test_the_page_names_the_templates_and_they_are_no_recipes():
    for path in (SBATCH, RAYJOB):
        assert path.relative_to(ROOT).as_posix() in PAGE
    assert not [name for name in recipe_names() if name.startswith(("kubernetes", "slurm"))]
