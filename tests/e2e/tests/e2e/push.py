"""Pushes an image tar (OCI layout or docker-archive) to a registry on the loopback."""
import hashlib
import http.client
import json
import sys
import tarfile

host, path, name, tag = sys.argv[1:5]
account = {"Authorization": "Basic " + sys.argv[5]} if len(sys.argv) > 5 else {}
tar = tarfile.open(path)
read = lambda member: tar.extractfile(member).read()


def call(method, url, body=None, kind="application/octet-stream"):
    connection = http.client.HTTPConnection(host)
    connection.request(method, url, body, {"Content-Type": kind, **account})
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {url}: {answer.status}")
    return answer


def blob(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    where = call("POST", f"/v2/{name}/blobs/uploads/").getheader("Location")
    where = where.split(host, 1)[-1]
    call("PUT", where + ("&" if "?" in where else "?") + "digest=" + digest, data)
    return {"digest": digest, "size": len(data)}


if "manifest.json" in tar.getnames():
    first = json.loads(read("manifest.json"))[0]
    config, layers = read(first["Config"]), [read(layer) for layer in first["Layers"]]
else:
    find = lambda digest: read("blobs/" + digest.replace(":", "/"))
    manifest = json.loads(find(json.loads(read("index.json"))["manifests"][0]["digest"]))
    config, layers = find(manifest["config"]["digest"]), [find(layer["digest"]) for layer in manifest["layers"]]

kind = "application/vnd.oci.image."
media = lambda layer: kind + ("layer.v1.tar+gzip" if layer[:2] == b"\x1f\x8b" else "layer.v1.tar")
manifest = {
    "schemaVersion": 2,
    "mediaType": kind + "manifest.v1+json",
    "config": {"mediaType": kind + "config.v1+json", **blob(config)},
    "layers": [{"mediaType": media(layer), **blob(layer)} for layer in layers],
}
call("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest), manifest["mediaType"])
