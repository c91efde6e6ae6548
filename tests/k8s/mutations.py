"""Faults put into good manifests on purpose: the rules are believed because they find each of these."""


def pod(docs):
    return find(docs, "StatefulSet", "boveda")["spec"]["template"]["spec"]


def container(docs):
    return pod(docs)["containers"][0]


def find(docs, kind, name):
    return next(d for d in docs if d["kind"] == kind and d["metadata"]["name"].startswith(name))


def spec(docs, kind, name):
    return find(docs, kind, name)["spec"]


def config(docs, old, new):
    data = find(docs, "ConfigMap", "boveda-config")["data"]
    assert old in data["boveda.toml"], old
    data["boveda.toml"] = data["boveda.toml"].replace(old, new)


def drop(mapping, key):
    mapping.pop(key)


def put(mapping, **values):
    mapping.update(values)


MUTATIONS = {
    "a Service selects nothing": lambda d: put(spec(d, "Service", "boveda")["selector"], tier="x"),
    "a Service leads to a port that no container has": lambda d: put(spec(d, "Service", "boveda")["ports"][0], targetPort="web"),
    "a Service has another port": lambda d: put(spec(d, "Service", "boveda-peers")["ports"][0], port=5003),
    "the governing Service is not headless": lambda d: drop(spec(d, "Service", "boveda-peers"), "clusterIP"),
    "nodes that start cannot find each other": lambda d: drop(spec(d, "Service", "boveda-peers"), "publishNotReadyAddresses"),
    "clients are sent to pods that are not ready": lambda d: put(spec(d, "Service", "boveda"), publishNotReadyAddresses=True),
    "the StatefulSet names another Service": lambda d: put(spec(d, "StatefulSet", "boveda"), serviceName="boveda"),
    "one pod waits for the other": lambda d: put(spec(d, "StatefulSet", "boveda"), podManagementPolicy="OrderedReady"),
    "scaling down deletes data": lambda d: put(spec(d, "StatefulSet", "boveda")["persistentVolumeClaimRetentionPolicy"], whenScaled="Delete"),
    "more nodes than peers": lambda d: put(spec(d, "StatefulSet", "boveda"), replicas=5),
    "two nodes drained at once": lambda d: put(spec(d, "PodDisruptionBudget", "boveda"), maxUnavailable=2),
    "the container has another HTTP port": lambda d: put(container(d)["ports"][0], containerPort=8080),
    "the configuration has another HTTP port": lambda d: config(d, '"0.0.0.0:5000"', '"0.0.0.0:5003"'),
    "the S3 port is for this pod only": lambda d: config(d, '"0.0.0.0:5001"', '"127.0.0.1:5001"'),
    "the S3 port is open to everybody": lambda d: put(spec(d, "NetworkPolicy", "boveda-peers")["ingress"][0]["ports"][0], port="s3"),
    "the peer port is for this pod only": lambda d: config(d, '"0.0.0.0:5002"', '"127.0.0.1:5002"'),
    "a peer has another name": lambda d: config(d, "boveda-2.boveda-peers", "boveda-3.boveda-peers"),
    "a peer has another port": lambda d: config(d, "boveda-1.boveda-peers:5002", "boveda-1.boveda-peers:5000"),
    "an unknown key": lambda d: config(d, "ready_grace", "ready_grade"),
    "data beside the volume": lambda d: config(d, "/var/lib/boveda/data", "/var/lib/data"),
    "keys from elsewhere": lambda d: config(d, "/etc/boveda/keys", "/etc/boveda/kek"),
    "keys on the data volume": lambda d: config(d, "/etc/boveda/keys", "/var/lib/boveda/data/keys"),
    "no time to drain": lambda d: put(pod(d), terminationGracePeriodSeconds=30),
    "the default grace of another length": lambda d: config(d, 'drain_timeout = "25s"', 'drain_timeout = "2min"'),
    "too little memory": lambda d: [put(container(d)["resources"][k], memory="256Mi") for k in ("requests", "limits")],
    "a request below the limit": lambda d: put(container(d)["resources"]["requests"], memory="64Mi"),
    "a throttled processor": lambda d: put(container(d)["resources"]["limits"], cpu="1"),
    "open to everybody": lambda d: container(d)["args"].append("--insecure-open"),
    "a root key from elsewhere": lambda d: config(d, "/etc/boveda/access/root-key", "/etc/boveda/root-key"),
    "another Secret for the root key": lambda d: put(pod(d)["volumes"][2]["secret"], secretName="boveda-root"),
    "a root key that everybody reads": lambda d: put(pod(d)["volumes"][2]["secret"], defaultMode=0o444),
    "a root key that can be overwritten": lambda d: drop(container(d)["volumeMounts"][3], "readOnly"),
    "a flag that does not exist": lambda d: container(d)["args"].append("--s4-listen=0.0.0.0:5004"),
    "the configuration from nowhere": lambda d: container(d)["args"].__setitem__(1, "--config=/etc/boveda.toml"),
    "pods without their own name": lambda d: drop(container(d), "env"),
    "a variable that does not exist": lambda d: put(container(d)["env"][0], name="BOVEDA_NODE_NAMES"),
    "service links": lambda d: drop(pod(d), "enableServiceLinks"),
    "a secret in the environment": lambda d: container(d)["env"].append(
        {"name": "BOVEDA_NODE_LOG", "valueFrom": {"secretKeyRef": {"name": "boveda-keys", "key": "kek-0001"}}}),
    "another Secret": lambda d: put(pod(d)["volumes"][1]["secret"], secretName="boveda-kek"),
    "keys that are not needed to start": lambda d: put(pod(d)["volumes"][1]["secret"], optional=True),
    "keys that everybody reads": lambda d: put(pod(d)["volumes"][1]["secret"], defaultMode=0o444),
    "keys that can be overwritten": lambda d: drop(container(d)["volumeMounts"][2], "readOnly"),
    "keys that the process cannot read": lambda d: drop(pod(d)["securityContext"], "fsGroup"),
    "root": lambda d: put(pod(d)["securityContext"], runAsUser=0),
    "no seccomp profile": lambda d: drop(pod(d)["securityContext"], "seccompProfile"),
    "capabilities": lambda d: drop(container(d)["securityContext"], "capabilities"),
    "escalation": lambda d: drop(container(d)["securityContext"], "allowPrivilegeEscalation"),
    "a root file system to write on": lambda d: drop(container(d)["securityContext"], "readOnlyRootFilesystem"),
    "the host's network": lambda d: put(pod(d), hostNetwork=True),
    "the host's files": lambda d: pod(d)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "a token for the API": lambda d: drop(pod(d), "automountServiceAccountToken"),
    "a probe of a route that does not exist": lambda d: put(container(d)["livenessProbe"]["httpGet"], path="/health"),
    "a probe of a port that does not exist": lambda d: put(container(d)["readinessProbe"]["httpGet"], port="web"),
    "liveness that depends on the disk": lambda d: put(container(d)["livenessProbe"]["httpGet"], path="/readyz"),
    "no time to recover": lambda d: put(container(d)["startupProbe"], failureThreshold=3),
    "the latest image": lambda d: put(container(d), image="boveda:latest"),
    "another program": lambda d: put(container(d), command=["/bin/boveda"]),
    "no default policy": lambda d: d.remove(find(d, "NetworkPolicy", "boveda-default-deny")),
    "everybody is a client": lambda d: drop(spec(d, "NetworkPolicy", "boveda-clients")["ingress"][0], "from"),
    "clients reach the peer port": lambda d: put(spec(d, "NetworkPolicy", "boveda-clients")["ingress"][0]["ports"][0], port="peer"),
    "nodes reach everything": lambda d: drop(spec(d, "NetworkPolicy", "boveda-peers")["egress"][1], "ports"),
    "a mount without a volume": lambda d: pod(d)["volumes"].pop(0),
    "a Secret in the repository": lambda d: d.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "boveda-keys"}}),
    "an object of another application": lambda d: drop(find(d, "ServiceAccount", "boveda")["metadata"], "labels"),
}

def volume(docs, name):
    return next(v for v in pod(docs)["volumes"] if v["name"] == name)


def mount(docs, name):
    return next(m for m in container(docs)["volumeMounts"] if m["name"] == name)


def variable(docs, name):
    return next(e for e in container(docs)["env"] if e["name"] == name)


# Of an overlay with the component for TLS.
TLS_MUTATIONS = {
    "a probe without TLS": lambda d: drop(container(d)["livenessProbe"]["httpGet"], "scheme"),
    "another Secret for the certificate": lambda d: put(volume(d, "tls")["secret"], secretName="boveda-cert"),
    "a certificate that is not needed to start": lambda d: put(volume(d, "tls")["secret"], optional=True),
    "a certificate's key that everybody reads": lambda d: put(volume(d, "tls")["secret"], defaultMode=0o444),
    "a certificate that is never exchanged": lambda d: put(mount(d, "tls"), subPath="tls.crt"),
    "a certificate without its key": lambda d: container(d)["env"].remove(variable(d, "BOVEDA_TLS_KEY")),
    "a certificate from elsewhere": lambda d: put(variable(d, "BOVEDA_TLS_CERT"), value="/etc/boveda/keys/tls.crt"),
    "a secret written into the environment": lambda d: put(variable(d, "BOVEDA_CACERT"), value="hunter2"),
}

# What only the schemas find.
SCHEMA_MUTATIONS = {
    "a misspelt key": lambda d: put(pod(d), enableServiceLink=False),
    "a number for a text": lambda d: put(container(d), image=1),
    "a kind of another API": lambda d: put(find(d, "PodDisruptionBudget", "boveda"), apiVersion="policy/v1alpha7"),
}
