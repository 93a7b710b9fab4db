"""Files as kubectl takes them: read, checked, and changed without touching their layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowline_operator.api import Request
from bowline_operator.edit import edited, set_phase
from bowline_operator.manifest import ManifestInvalid, read_manifest
from bowline_operator.status import Phase, Status
from bowline_operator.watch import Watch, why_not

MANIFEST = """\
# the shop moves
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {name: shop}
spec:
  phase:   Replicate   # the goal
  source: {engine: PostgreSQL, host: a, database: shop, credentialsSecretRef: {name: shop-source}}
  target: {engine: PostgreSQL, host: b, database: shop, credentialsSecretRef: {name: shop-target}}
"""
SECRETS = """\
---
apiVersion: v1
kind: Secret
metadata: {name: shop-source}
stringData: {username: bowline, password: "pa ss"}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-target}
data: {username: Ym93bGluZQ==, password: c2VjcmV0}
"""


def written(place: Path, text: str = MANIFEST + SECRETS, name: str = "m.yaml") -> Path:
    path = place / name
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ManifestInvalid) as caught:
        read_manifest([path])
    return [line.removeprefix(f"{path}: ") for line in caught.value.errors]


def test_a_resource_and_its_secrets_are_read_from_one_file(tmp_path: Path) -> None:
    manifest = read_manifest([written(tmp_path)])

    assert manifest.resource.metadata.name == "shop"
    assert manifest.secrets["shop-source"]["password"] == b"pa ss"
    assert manifest.secrets["shop-target"]["password"] == b"secret"


def test_a_directory_is_read_as_kubectl_does(tmp_path: Path) -> None:
    written(tmp_path, MANIFEST, "a.yaml")
    written(tmp_path, SECRETS, "b.yml")
    written(tmp_path, "not ours", "c.txt")

    assert read_manifest([tmp_path]).path == tmp_path / "a.yaml"


def test_a_json_list_is_read_too(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"kind": "List", "apiVersion": "v1", "items": [{"kind": "Service"}]}',
        "x.json",
    )

    assert problems(path) == [
        f"0 documents of kind DatabaseMigration in {path}, exactly one is needed"
    ]


def test_a_missing_secret_is_named_by_the_field_that_wants_it(tmp_path: Path) -> None:
    assert problems(written(tmp_path, MANIFEST)) == [
        "spec.source.credentialsSecretRef.name: no Secret shop-source in the files that were given",
        "spec.target.credentialsSecretRef.name: no Secret shop-target in the files that were given",
    ]


def test_a_bad_secret_is_told_without_its_value(tmp_path: Path) -> None:
    text = MANIFEST + SECRETS.replace("c2VjcmV0", "hunter2!").replace('"pa ss"', "12345")
    found = problems(written(tmp_path, text))

    assert found == [
        "Secret shop-source: stringData.password: must be a string: put it in quotes",
        "Secret shop-target: data.password: is not base64: use stringData for plain text",
        "spec.source.credentialsSecretRef.name: Secret shop-source has no key password",
        "spec.target.credentialsSecretRef.name: Secret shop-target has no key password",
    ]
    assert "hunter2" not in str(found)


def test_a_key_that_leaves_its_directory_is_refused(tmp_path: Path) -> None:
    text = MANIFEST + SECRETS.replace("{username: bowline,", '{"../../up": x, username: b,')

    assert "not a key that a Secret may have" in problems(written(tmp_path, text))[0]


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "kind: DatabaseMigration\nspec: {a: [}\n")
    with pytest.raises(ManifestInvalid, match=r"m\.yaml, line 2"):
        read_manifest([path])


def test_another_namespaces_secret_is_not_ours(tmp_path: Path) -> None:
    text = MANIFEST + SECRETS.replace("name: shop-source}", "name: shop-source, namespace: other}")

    assert "no Secret shop-source" in problems(written(tmp_path, text))[0]


# --- bowline phase ---


def test_the_phase_changes_and_not_another_character(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.chmod(0o640)

    assert set_phase([path], Request.CUTOVER) == (path, "Replicate")
    assert path.read_text() == (MANIFEST + SECRETS).replace("Replicate", "Cutover")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('phase: "Replicate"  # x', 'phase: "Cutover"  # x'),
        ("phase: 'Replicate'", "phase: 'Cutover'"),
        ("# none", "# none"),
    ],
)
def test_quotes_and_comments_stay(before: str, after: str) -> None:
    text = f"kind: DatabaseMigration\nspec:\n  {before}\n  suspend: false\n"
    new = edited(text, Request.CUTOVER, "m")

    assert new is not None
    assert after in new[0]
    assert "suspend: false\n" in new[0]


def test_a_missing_phase_is_put_in_with_the_same_indentation() -> None:
    text = "kind: DatabaseMigration\nspec:\n    # where from\n    source: {a: 1}\n"

    assert edited(text, Request.CUTOVER, "m") == (
        "kind: DatabaseMigration\nspec:\n    # where from\n    phase: Cutover\n    source: {a: 1}\n",
        "Replicate",
    )


def test_json_stays_json() -> None:
    text = '{"kind": "DatabaseMigration",\n "spec": {"source": {}, "suspend": false}}\n'
    new = edited(text, Request.CUTOVER, "m")

    assert new is not None
    assert new[0] == text.replace('{"source"', '{"phase": "Cutover", "source"')
    assert edited(new[0], Request.ASSESS, "m") == (new[0].replace("Cutover", "Assess"), "Cutover")


# --- watching ---


def test_a_half_written_file_is_not_taken_over(tmp_path: Path) -> None:
    path = written(tmp_path)
    watch = Watch.start([path])
    path.write_text(MANIFEST)

    assert watch.poll() is None
    assert watch.problem == ""

    path.write_text((MANIFEST + SECRETS).replace("Replicate", "Cutover"))

    assert watch.poll() is None  # it has changed again: wait
    new = watch.poll()
    assert new is not None
    assert new.resource.spec.phase is Request.CUTOVER

    watch.accept(new)

    assert watch.poll() is None


def test_a_file_that_stays_broken_is_a_problem_until_it_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path)
    watch = Watch.start([path])
    path.write_text("kind: [")
    watch.poll()
    watch.poll()

    assert "m.yaml, line 1" in watch.problem

    path.write_text(MANIFEST + SECRETS)
    watch.poll()

    assert watch.problem == ""


def test_the_source_may_move_before_replication_and_not_after(tmp_path: Path) -> None:
    old = read_manifest([written(tmp_path)]).resource
    new = read_manifest([written(tmp_path, (MANIFEST + SECRETS).replace("host: a", "host: z"))])

    assert why_not(old, new.resource, Status(phase=Phase.ASSESSING)) == ""
    assert why_not(old, new.resource, Status(phase=Phase.SNAPSHOTTING)).startswith("spec.source")
