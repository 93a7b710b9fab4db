"""A try of a role as Kubernetes objects: its Job, its configuration, and the journal's volume. No I/O.

A Job's name is the try's, so that creating it twice creates it once. Workers get no token of the API server; what they
may know is in one ConfigMap, named by its content, and in the Secrets of the two sides, as files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from kubernetes.utils.quantity import parse_quantity

from bowline_operator.api import GROUP, KIND, VERSION, AccessMode, DatabaseMigration, Spec
from bowline_operator.jobs import JobSpec, Places, config_for
from bowline_operator.kube.options import Options
from bowline_operator.tries import grace
from bowline_worker.contract import Exit, Role

Object: TypeAlias = dict[str, Any]

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "bowline"
MIGRATION = f"{GROUP}/migration"
OWNER_UID = f"{GROUP}/uid"
ROLE = "app.kubernetes.io/component"
FAMILY = f"{GROUP}/family"
TRY = f"{GROUP}/try"
JOURNAL = f"{GROUP}/journal"  #: on pods that use a volume which one node at a time can mount
DIGEST = f"{GROUP}/settings"  #: annotation: what a running Job would have to be replaced for
CONFIG = f"{GROUP}/config"  #: annotation: the ConfigMap of this try

#: Made by the Job controller on every pod: what tells a Job's reports from those of an earlier Job of its name.
JOB_UID_LABEL = "batch.kubernetes.io/controller-uid"

STATUS_PORT = 8080
#: The image's user and group: mounted files and the volume are readable for it.
GROUP_ID = 10001
#: An ended Job is kept for its log; its result is in the status by then.
KEEP_SECONDS = 3600

#: Roles that read the journal, write it, or remove what is over.
JOURNAL_ROLES = frozenset({Role.CAPTURE, Role.APPLY, Role.CUTOVER})
#: Not collected with the resource: they end what would otherwise stand for ever (a fence, a slot).
SURVIVORS = frozenset({Role.CUTOVER, Role.ABORT, Role.CLEANUP})

_PLACES = Places(
    source_credentials="/etc/bowline/source",
    target_credentials="/etc/bowline/target",
    journal="/var/lib/bowline/journal",
    work_dir="/work",
    termination_file="/dev/termination-log",
)
_CONFIG_DIR = "/etc/bowline/config"
_CONFIG_FILE = "config.json"


def selector(migration: str) -> str:
    """Find all that belongs to migrations of that name, of an earlier life as well."""
    return f"{MANAGED_BY}={MANAGER},{MIGRATION}={migration}"


def claim_name(migration: str) -> str:
    return f"{migration}-journal"


def labels(resource: DatabaseMigration, owner_uid: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "bowline-worker",
        MANAGED_BY: MANAGER,
        MIGRATION: resource.metadata.name,
        OWNER_UID: owner_uid,
    }


def config_map(job: JobSpec, resource: DatabaseMigration, owner_uid: str) -> Object:
    """What this try is told. The Job's uid is not known yet: the pod learns it from its label."""
    config = config_for(job, resource, uid="", places=_PLACES)
    text = config.model_dump_json(by_alias=True, indent=1)
    name = f"{job.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": resource.metadata.namespace,
            "labels": labels(resource, owner_uid) | {ROLE: str(job.role)},
            **_owners(job.role, resource, owner_uid),
        },
        "immutable": True,
        "data": {_CONFIG_FILE: text},
    }


def claim(resource: DatabaseMigration, owner_uid: str) -> Object:
    """The journal's volume. Nobody owns it: what it holds must outlive the resource with deletionPolicy Retain."""
    volume = resource.spec.journal.volume
    wanted: Object = {
        "accessModes": [str(volume.access_mode)],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class_name is not None:
        wanted["storageClassName"] = volume.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(resource.metadata.name),
            "namespace": resource.metadata.namespace,
            "labels": labels(resource, owner_uid),
        },
        "spec": wanted,
    }


def is_smaller(claim: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a claim asks for less room than another."""
    asked, needed = (
        parse_quantity(each["spec"]["resources"]["requests"]["storage"]) for each in (claim, wanted)
    )
    return bool(asked < needed)


def job(
    spec: JobSpec, resource: DatabaseMigration, owner_uid: str, options: Options, config: str
) -> Object:
    """The Job of one try: one pod, or for the snapshot as many as are asked for.

    It does not try again by itself, since the plan counts tries; but a pod that was evicted is replaced.
    """
    named = labels(resource, owner_uid) | {
        ROLE: str(spec.role),
        FAMILY: spec.family,
        TRY: str(spec.try_),
    }
    pods = resource.spec.snapshot.pods if spec.role is Role.SNAPSHOT else 1
    final = sorted(int(code) for code in Exit if code not in (Exit.DONE, Exit.TRY_AGAIN))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": spec.name,
            "namespace": resource.metadata.namespace,
            "labels": named,
            "annotations": {DIGEST: spec.digest, CONFIG: config},
            **_owners(spec.role, resource, owner_uid),
        },
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "completionMode": "Indexed" if pods > 1 else "NonIndexed",
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "worker",
                            "operator": "In",
                            "values": final,
                        },
                    },
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": _pod(spec, resource, named, options, config),
        },
    }


def _owners(role: Role, resource: DatabaseMigration, owner_uid: str) -> Object:
    if role in SURVIVORS:
        return {}
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": resource.metadata.name,
        "uid": owner_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"ownerReferences": [owner]}


def _pod(
    spec: JobSpec,
    resource: DatabaseMigration,
    named: Mapping[str, str],
    options: Options,
    config: str,
) -> Object:
    worker = resource.spec.worker
    uses_journal = spec.role in JOURNAL_ROLES
    own_labels = dict(named)
    affinity = dict(worker.affinity)
    if uses_journal and resource.spec.journal.volume.access_mode is AccessMode.ONE_NODE:
        own_labels[JOURNAL] = resource.metadata.name
        affinity = _beside_the_journal(affinity, resource.metadata.name)
    pod: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": options.worker_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(grace(spec.role).total_seconds()),
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, resource.spec, options, uses_journal)],
        "volumes": [*_volumes(resource, config, uses_journal)],
    }
    optional = {
        "affinity": affinity,
        "nodeSelector": worker.node_selector,
        "tolerations": worker.tolerations,
        "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
    }
    pod |= {key: value for key, value in optional.items() if value}
    return {"metadata": {"labels": own_labels}, "spec": pod}


def _beside_the_journal(affinity: Mapping[str, Any], migration: str) -> Object:
    """Add: on the node where the other users of the volume are; the first one may go anywhere."""
    term = {
        "labelSelector": {"matchLabels": {JOURNAL: migration}},
        "topologyKey": "kubernetes.io/hostname",
    }
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    near = dict(affinity.get("podAffinity", {}))
    near[required] = [*near.get(required, []), term]
    return {**affinity, "podAffinity": near}


def _container(spec: JobSpec, wanted: Spec, options: Options, uses_journal: bool) -> Object:
    def field(path: str) -> Object:
        return {"valueFrom": {"fieldRef": {"fieldPath": path}}}

    mounts = [
        {"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True},
        {"name": "source", "mountPath": _PLACES.source_credentials, "readOnly": True},
        {"name": "target", "mountPath": _PLACES.target_credentials, "readOnly": True},
        {"name": "work", "mountPath": _PLACES.work_dir},
    ]
    if uses_journal:
        mounts.append({"name": "journal", "mountPath": _PLACES.journal})
    return {
        "name": "worker",
        "image": wanted.worker.image or options.worker_image,
        "imagePullPolicy": options.image_pull_policy,
        "command": ["bowline-worker", str(spec.role), "--config", f"{_CONFIG_DIR}/{_CONFIG_FILE}"],
        "env": [
            {"name": "POD_IP", **field("status.podIP")},
            {"name": "BOWLINE_LISTEN", "value": f"$(POD_IP):{STATUS_PORT}"},
            {"name": "BOWLINE_JOB_UID", **field(f"metadata.labels['{JOB_UID_LABEL}']")},
            {"name": "HOME", "value": _PLACES.work_dir},
            {"name": "TMPDIR", "value": _PLACES.work_dir},
        ],
        "ports": [{"name": "status", "containerPort": STATUS_PORT}],
        "resources": wanted.worker.resources or {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": _PLACES.termination_file,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _volumes(resource: DatabaseMigration, config: str, uses_journal: bool) -> list[Object]:
    def secret(side: str, name: str) -> Object:
        return {"name": side, "secret": {"secretName": name, "defaultMode": 0o440}}

    spec = resource.spec
    found: list[Object] = [
        {"name": "config", "configMap": {"name": config}},
        secret("source", spec.source.credentials_secret_ref.name),
        secret("target", spec.target.credentials_secret_ref.name),
        {"name": "work", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    if uses_journal:
        name = claim_name(resource.metadata.name)
        found.append({"name": "journal", "persistentVolumeClaim": {"claimName": name}})
    return found
