"""What must hold between the manifests, the configuration in them and the program.

Schema validation passes port names that nobody has, selectors that match nothing and Secrets of another
name. Each function here takes the rendered objects of one overlay and yields (what, holds, detail).
"""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLANNED_SHARE = 3 / 4  # of the memory limit, for buffers and caches: src/config/memory.rs
KINDS = {
    ("ServiceAccount", "boveda"), ("Service", "boveda"), ("Service", "boveda-peers"), ("StatefulSet", "boveda"),
    ("PodDisruptionBudget", "boveda"), ("NetworkPolicy", "boveda-default-deny"),
    ("NetworkPolicy", "boveda-clients"), ("NetworkPolicy", "boveda-peers"),
}  # and one ConfigMap with a generated name
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
         "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
         "ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


def amount(text):
    """'64KiB', '512Mi' or '30s' as a number of bytes or seconds."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", text).groups()
    return int(number) * UNITS.get(unit, 1)


class Overlay:
    """The rendered objects of one overlay, by kind and name."""

    def __init__(self, docs):
        self.docs = docs
        self.by_name = {(d["kind"], d["metadata"]["name"]): d for d in docs}
        self.sts = self.by_name[("StatefulSet", "boveda")]
        self.template = self.sts["spec"]["template"]
        self.pod = self.template["spec"]
        self.labels = self.template["metadata"]["labels"]
        self.container = self.pod["containers"][0]
        self.ports = {p["name"]: p["containerPort"] for p in self.container["ports"]}
        self.mounts = {m["name"]: m for m in self.container["volumeMounts"]}
        self.volumes = {v["name"]: v for v in self.pod.get("volumes", [])}

    def of(self, kind):
        return [d for d in self.docs if d["kind"] == kind]

    def selects(self, selector):
        return bool(selector) and selector.items() <= self.labels.items()

    def pods(self):
        return [f"boveda-{n}" for n in range(self.sts["spec"]["replicas"])]

    def config_text(self):
        """The file that --config names, found through mounts and volumes."""
        path = next(a for a in self.container["args"] if a.startswith("--config=")).split("=", 1)[1]
        mount = next(m for m in self.mounts.values() if path.startswith(m["mountPath"] + "/"))
        source = self.volumes[mount["name"]]["configMap"]["name"]
        return self.by_name[("ConfigMap", source)]["data"][path[len(mount["mountPath"]) + 1:]]


def objects(o, replicas):
    names = [(d["kind"], d["metadata"]["name"]) for d in o.docs]
    yield "no object is there twice", len(set(names)) == len(names), names
    fixed = {n for n in names if n[0] != "ConfigMap"}
    yield "the objects are those of the design", fixed == KINDS and len(o.of("ConfigMap")) == 1, sorted(names)
    yield "no key material and no Secret is rendered", not o.of("Secret"), ""
    yield "objects bear the name of the application", all(
        d["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "boveda" for d in o.docs), ""
    yield "as many nodes as the overlay says", o.sts["spec"]["replicas"] == replicas, o.sts["spec"]["replicas"]


def stateful(o):
    spec = o.sts["spec"]
    yield "pods start in any order", spec["podManagementPolicy"] == "Parallel", ""
    keep = spec.get("persistentVolumeClaimRetentionPolicy")
    yield "volumes are retained", keep == {"whenDeleted": "Retain", "whenScaled": "Retain"}, keep
    yield "the StatefulSet selects its pods", o.selects(spec["selector"]["matchLabels"]), ""
    peers = o.by_name[("Service", spec["serviceName"])]["spec"]
    yield "the governing Service is headless", peers.get("clusterIP") == "None", ""
    yield "nodes find each other before they are ready", peers.get("publishNotReadyAddresses") is True, ""
    client = o.by_name[("Service", "boveda")]["spec"]
    yield "clients get ready pods only", not client.get("publishNotReadyAddresses") and "clusterIP" not in client, ""
    claims = {c["metadata"]["name"] for c in spec["volumeClaimTemplates"]}
    yield "every mount has its volume", set(o.mounts) <= claims | set(o.volumes), sorted(o.mounts)


def selectors(o):
    for service in o.of("Service"):
        name = service["metadata"]["name"]
        yield f"Service {name} selects the pods", o.selects(service["spec"]["selector"]), ""
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            yield f"Service {name} leads to a port of the container", target in o.ports, target
            yield f"Service {name} keeps the port's number", o.ports.get(target) == port["port"], port["port"]
    budget = o.by_name[("PodDisruptionBudget", "boveda")]["spec"]
    yield "the disruption budget selects the pods", o.selects(budget["selector"]["matchLabels"]), ""
    yield "one node at a time is drained", budget.get("maxUnavailable") == 1, budget
    spread = o.pod["topologySpreadConstraints"]
    keys = {s["topologyKey"] for s in spread}
    yield "pods spread over hosts and zones", keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, keys
    yield "the spread counts the pods", all(o.selects(s["labelSelector"]["matchLabels"]) for s in spread), ""


def configuration(o, effective, warnings):
    """`effective`: by pod, what `boveda config check` printed, parsed; `warnings`: its stderr, all pods."""
    peer_service = o.sts["spec"]["serviceName"]
    wanted = {(p, f"http://{p}.{peer_service}:{o.ports['peer']}") for p in o.pods()} if len(o.pods()) > 1 else set()
    grace = o.pod["terminationGracePeriodSeconds"]
    limit = amount(o.container["resources"]["limits"]["memory"])
    for pod, c in effective.items():
        yield f"{pod}: the name is the pod's", c["node"]["name"] == pod, c["node"]["name"]
        for port, listen in (("http", c["http"]["listen"]), ("s3", c["s3"]["listen"]), ("peer", c["peer"]["listen"])):
            yield f"{pod}: {port}.listen is the container's port, for all addresses", \
                listen == f"0.0.0.0:{o.ports.get(port)}", listen
        listed = {(p["name"], p["url"]) for p in c["cluster"]["peers"]}
        yield f"{pod}: the peers are the pods by their stable names", listed == wanted, sorted(listed)
        data = o.mounts["data"]
        inside = c["node"]["data"].startswith(data["mountPath"] + "/") and not data.get("readOnly")
        yield f"{pod}: data lies on the volume", inside, c["node"]["data"]
        yield f"{pod}: keys come from the Secret", c["node"]["key_dir"] == o.mounts["keys"]["mountPath"], ""
        closed = not c["http"]["insecure_open"]
        yield f"{pod}: nobody gets in without a key", closed, c["http"]["insecure_open"]
        root = o.mounts["root-key"]["mountPath"] + "/root-key"
        yield f"{pod}: the first key comes from its Secret", c["access"]["root_key_file"] == root, c["access"]["root_key_file"]
        spent = amount(c["http"]["ready_grace"]) + amount(c["http"]["drain_timeout"])
        yield f"{pod}: time to drain and to flush", amount(c["http"]["ready_grace"]) > 0 and spent + 10 <= grace, \
            f"{spent} s of {grace} s"
        # A cache whose size is not set takes what the limit leaves, beside what it should have at least.
        sizes = ((c["http"]["in_flight_bytes_max"], None), (c["store"]["cache_bytes"], "64MiB"), (c["store"]["index_cache_bytes"], "32MiB"))
        memory = sum(amount(least if size == "auto" else size) for size, least in sizes)
        yield f"{pod}: buffers and caches fit the limit", memory <= limit * PLANNED_SHARE, f"{memory} of {limit}"
    unsealed = [w for w in warnings if "is reached without TLS" in w]
    strange = [w for w in warnings if w not in unsealed]
    yield "no warning but that of what is reached without TLS", not strange, strange
    yield "who has no TLS is warned, and nobody else", bool(unsealed) != ("tls" in o.volumes), unsealed


def secrets(o):
    keys = o.volumes["keys"]
    secret = keys.get("secret", {})
    root = o.volumes["root-key"].get("secret", {})
    yield "the root key is a file of a Secret", root.get("secretName") == "boveda-root-key" and not root.get("optional"), root
    yield "the README makes that Secret too", \
        "create secret generic boveda-root-key " in (ROOT / "k8s/README.md").read_text(), ""
    yield "the root key is read by owner and group only", root.get("defaultMode") == 0o440, root.get("defaultMode")
    yield "keys are files of a Secret", secret.get("secretName") == "boveda-keys" and not secret.get("optional"), keys
    yield "the README makes that Secret", \
        f"create secret generic {secret.get('secretName')} " in (ROOT / "k8s/README.md").read_text(), ""
    yield "keys are read by owner and group only", secret.get("defaultMode") == 0o440, secret.get("defaultMode")
    yield "the group is the process's", "fsGroup" in o.pod["securityContext"], ""
    yield "keys and configuration are mounted read-only", all(o.mounts[m].get("readOnly") for m in ("keys", "config", "root-key")), ""
    def is_plain(e):
        path = e.get("value", "").startswith("/etc/boveda/")
        return "secretKeyRef" in e["valueFrom"] if "valueFrom" in e else not path

    plain = [e["name"] for e in o.container.get("env", []) if is_plain(e)]
    yield "no secret travels in the environment", not plain and not o.container.get("envFrom"), plain
    yield "service links stay out of the environment", o.pod.get("enableServiceLinks") is False, ""


def tls(o, effective):
    """https, where the component is in the overlay: files that can be exchanged, and probes that speak it."""
    schemes = {o.container[probe]["httpGet"].get("scheme", "HTTP") for probe in PROBES}
    if "tls" not in o.volumes:
        yield "probes speak http", schemes == {"HTTP"}, schemes
        yield "no certificate is looked for", not any(c["tls"]["cert"] for c in effective.values()), ""
        return
    secret, mount = o.volumes["tls"]["secret"], o.mounts["tls"]
    yield "probes speak https", schemes == {"HTTPS"}, schemes
    yield "the certificate is of the Secret that cert-manager makes", secret["secretName"] == "boveda-tls" \
        and "secretName: boveda-tls" in (ROOT / "k8s/cert-manager.yaml").read_text(), secret
    yield "no pod starts without it", not secret.get("optional"), secret
    yield "its key is read by owner and group only", secret.get("defaultMode") == 0o440, secret.get("defaultMode")
    yield "its files are exchanged with the Secret, and read-only", mount.get("readOnly") and "subPath" not in mount, mount
    env = {e["name"]: e.get("value") for e in o.container["env"]}
    for name, file in (("BOVEDA_TLS_CERT", "tls.crt"), ("BOVEDA_TLS_KEY", "tls.key"), ("BOVEDA_CACERT", "ca.crt")):
        yield f"{name} is {file} of it", env.get(name) == f"{mount['mountPath']}/{file}", env.get(name)


def restricted(o):
    pod, container = o.pod["securityContext"], o.container["securityContext"]
    yield "not root", pod.get("runAsNonRoot") is True and pod.get("runAsUser", 0) > 0 and pod.get("runAsGroup", 0) > 0, pod
    yield "volumes are handed over once", pod.get("fsGroupChangePolicy") == "OnRootMismatch", pod
    yield "the runtime's seccomp profile", pod.get("seccompProfile") == {"type": "RuntimeDefault"}, pod
    yield "no privilege escalation", container.get("allowPrivilegeEscalation") is False, container
    yield "no capabilities", container.get("capabilities") == {"drop": ["ALL"]}, container
    yield "the root file system is read-only", container.get("readOnlyRootFilesystem") is True, container
    yield "nothing of the host", not any(o.pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")) \
        and not container.get("privileged") and all("hostPort" not in p for p in o.container["ports"]), ""
    kinds = {k for v in o.volumes.values() for k in v if k != "name"}
    yield "volumes are the Secret and the ConfigMap", kinds == {"secret", "configMap"}, kinds
    account = o.by_name.get(("ServiceAccount", o.pod.get("serviceAccountName")), {})
    yield "no token for the Kubernetes API", \
        o.pod.get("automountServiceAccountToken") is False and account.get("automountServiceAccountToken") is False, ""
    resources = o.container["resources"]
    yield "memory asked for is the limit", resources["requests"]["memory"] == resources["limits"]["memory"], resources
    yield "the processor is asked for and not throttled", \
        "cpu" in resources["requests"] and "cpu" not in resources["limits"], resources


def probes(o, routes):
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        get = o.container.get(probe, {}).get("httpGet", {})
        yield f"{probe} asks {path}", get.get("path") == path and get.get("port") in o.ports, get
        yield f"{path} is a route of the program", get.get("path") in routes, get.get("path")
    startup = o.container.get("startupProbe", {})
    patience = startup.get("periodSeconds", 0) * startup.get("failureThreshold", 0)
    yield "startup has time to recover", patience >= 300, patience


def image(o, version):
    name, _, tag = o.container["image"].partition(":")
    yield "the image bears the version of the crate", tag == version, f"{name}:{tag}"
    yield "the program is that of the Dockerfile", \
        o.container["command"] == ["/boveda"] and "/boveda" in (ROOT / "Dockerfile").read_text(), ""
    # cargo refuses a manifest whose targets are missing, also those that it is not to build.
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    admitted = [line[1:] for line in lines if line.startswith("!")]
    named = [b.get("path", f"benches/{b['name']}.rs") for b in manifest()["bench"]] + ["Cargo.toml", "Cargo.lock", "src/main.rs"]
    missing = [path for path in named if not any(path == a or path.startswith(f"{a}/") for a in admitted)]
    yield "the image's build context holds every file that Cargo.toml names", not missing, missing


def network(o):
    policies = {d["metadata"]["name"]: d["spec"] for d in o.of("NetworkPolicy")}
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "boveda"}}}
    yield "policies select the pods", all(o.selects(p["podSelector"].get("matchLabels")) for p in policies.values()), ""
    deny = policies.get("boveda-default-deny", {})
    yield "nothing passes by default", sorted(deny.get("policyTypes", [])) == ["Egress", "Ingress"] \
        and not deny.get("ingress") and not deny.get("egress"), deny
    allowed = {}
    for policy in policies.values():
        for rule in policy.get("ingress") or []:
            ports = [p["port"] for p in rule.get("ports", [{"port": "any"}])]
            for port in ports:
                allowed.setdefault(port, []).extend(rule.get("from", [{}]))
    for port in ("http", "s3"):
        yield f"only labelled clients reach the port {port}", allowed.get(port) == [
            {"podSelector": {"matchLabels": {"boveda-client": "true"}}}], allowed.get(port)
    yield "only nodes reach the peer port", allowed.get("peer") == [own], allowed.get("peer")
    yield "nothing else is reached", set(allowed) == {"http", "s3", "peer"}, sorted(allowed, key=str)
    out = {p["port"] for policy in policies.values() for rule in policy.get("egress") or [] for p in rule.get("ports", [{"port": "any"}])}
    yield "nodes reach peers and names only", out == {"peer", 53}, sorted(out, key=str)


def routes():
    """The paths that the program answers, as far as probes need them."""
    text = "\n".join(p.read_text() for p in sorted((ROOT / "src/http").rglob("*.rs")))
    return {path for path in ("/healthz", "/readyz") if f'"{path}"' in text}


def manifest():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())


def crate_version():
    return manifest()["package"]["version"]


def everything(docs, replicas, effective, warnings):
    """All findings about one overlay as (what, holds, detail). A missing part is a finding, not a crash."""
    o = Overlay(docs)
    parts = [
        ("objects", lambda: objects(o, replicas)), ("stateful", lambda: stateful(o)),
        ("selectors", lambda: selectors(o)), ("configuration", lambda: configuration(o, effective, warnings)),
        ("secrets", lambda: secrets(o)), ("tls", lambda: tls(o, effective)), ("restricted", lambda: restricted(o)),
        ("probes", lambda: probes(o, routes())), ("image", lambda: image(o, crate_version())),
        ("network", lambda: network(o)),
    ]
    for name, part in parts:
        try:
            yield from part()
        except (KeyError, IndexError, StopIteration, TypeError, AttributeError) as error:
            yield f"{name}: every part that the rules look at is there", False, repr(error)
