"""The one table of kinds: a name leads to a boot and a lab that can do what is asked of them."""

from pathlib import Path

import pytest

from lab.base import Airflow, Lab
from lab.kinds import boot_of, lab_of
from lab.spec import Attachment, Deployment, LabSpec
from lab.supervised import SupervisedLab

AIRFLOW = Airflow("3.0.6", "3.0.6")
SPECS = (
    LabSpec(AIRFLOW),
    LabSpec(AIRFLOW, deployment=Deployment("c", "kubeconfig", "chart", "image")),
    LabSpec(AIRFLOW, attachment=Attachment("kubeconfig", "context", "namespace", "release")),
)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_kind_has_every_method_that_the_protocols_name(spec: LabSpec) -> None:
    """A lab that inherits one of the protocol's own would silently do nothing."""
    lab = lab_of(spec.kind)
    assert issubclass(lab, SupervisedLab)
    assert lab.kind == spec.kind
    asked = [name for name in vars(Lab) if not name.startswith("_")]
    assert [name for name in asked if getattr(lab, name, None) is vars(Lab)[name]] == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_what_never_came_up_is_cleared_without_a_cluster(spec: LabSpec, tmp_path: Path) -> None:
    boot = boot_of(spec.kind)
    boot.clear(tmp_path, spec)
    assert boot.end_seconds >= 30
