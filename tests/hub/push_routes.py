"""The hub's upload protocol: repositories, branches, preupload, the LFS batch API (basic and multipart), commits."""
import base64
import json

from hub import NAME, ROUTES, Repo, etag_of, is_lfs, sha256

PART = 200_000  # bytes; larger objects are sent in parts
parts = {}      # of objects in transfer, by hash and number


def route(server, method, pattern):
    def add(function):
        ROUTES[server].insert(0, (method, pattern, function))
        return function
    return add


def writable(handler):
    if handler.authorized():
        return True
    handler.refuse(401, None, "Invalid username or password.")
    return False


@route("hub", "POST", r"/api/repos/create")
def create_repo(handler):
    body = json.loads(handler.body())
    if not writable(handler):
        return
    name = f"{body['organization']}/{body['name']}" if body.get("organization") else body["name"]
    if name in handler.hub.repos:
        return handler.refuse(409, None, "You already created this model repo")
    private = body.get("private") or body.get("visibility") == "private"
    repo = handler.hub.repos[name] = Repo(name, private=bool(private))
    handler.hub.blobs[etag_of(b"*.safetensors filter=lfs\n")] = b"*.safetensors filter=lfs\n"
    repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
    handler.send_json({"url": f"{handler.hub.url}/{name}", "name": name, "id": name})


@route("hub", "POST", r"/api/validate-yaml")
def validate_yaml(handler):
    handler.body()
    handler.send_json({"errors": [], "warnings": []})


@route("hub", "POST", rf"/api/models/{NAME}/branch/(?P<branch>.+)")
def create_branch(handler, name, branch):
    handler.body()
    found = handler.repo_of(name)
    if found and writable(handler):
        found[0].refs[branch] = found[1]
        handler.send_json({})


@route("hub", "POST", rf"/api/models/{NAME}/preupload/(?P<revision>.+)")
def preupload(handler, name, revision):
    body = json.loads(handler.body())
    if not handler.repo_of(name, revision) or not writable(handler):
        return
    files = []
    for file in body["files"]:
        base64.b64decode(file["sample"], validate=True)
        files.append({"path": file["path"], "uploadMode": "lfs" if file["size"] >= 1 << 16 else "regular", "shouldIgnore": False})
    handler.send_json({"files": files})


@route("hub", "POST", rf"/{NAME}\.git/info/lfs/objects/batch")
def lfs_batch(handler, name):
    body = json.loads(handler.body())
    if not handler.repo_of(name) or not writable(handler):
        return
    objects = []
    for item in body["objects"]:
        answer = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] not in handler.hub.blobs:
            address = f"{handler.hub.cdn}/upload/{item['oid']}"
            upload = {"href": f"{address}/1?signature=secret_of_the_link", "header": {}}
            if item["size"] > PART:
                count = -(-item["size"] // PART)
                upload = {"href": f"{address}?signature=secret_of_the_link", "header": {
                    "chunk_size": str(PART),
                    **{f"{i + 1:05}": f"{address}/{i + 1}?signature=secret_of_the_link" for i in range(count)}}}
            verify = {"href": f"{handler.hub.url}/verify/{item['oid']}"}
            answer["actions"] = {"upload": upload, "verify": verify}
        objects.append(answer)
    handler.send_json({"transfer": "basic", "objects": objects})


@route("cdn", "PUT", r"/upload/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)")
def put_part(handler, oid, number):
    content = handler.body()
    if handler.headers.get("Authorization"):
        return handler.send_bytes(400, b"only one auth mechanism allowed")
    if sha256(content) == oid:
        handler.hub.blobs[oid] = content
    else:
        parts.setdefault(oid, {})[int(number)] = content
    handler.send_bytes(200, b"", {"ETag": f'"{oid[:8]}-{number}"'})


@route("cdn", "POST", r"/upload/(?P<oid>[0-9a-f]{64})")
def complete(handler, oid):
    body = json.loads(handler.body())
    content = b"".join(parts[oid][part["partNumber"]] for part in body["parts"])
    if sha256(content) != oid or any(part["etag"] != f'"{oid[:8]}-{part["partNumber"]}"' for part in body["parts"]):
        return handler.send_bytes(400, b"not the object")
    handler.hub.blobs[oid] = content
    handler.send_json({})


@route("hub", "POST", r"/verify/(?P<oid>[0-9a-f]{64})")
def verify(handler, oid):
    body = json.loads(handler.body())
    known = handler.hub.blobs.get(oid)
    good = handler.authorized() and known is not None and len(known) == body["size"]
    handler.send_bytes(200 if good else 400, b"{}")


@route("hub", "POST", rf"/api/models/{NAME}/commit/(?P<revision>.+)")
def commit(handler, name, revision):
    lines = [json.loads(line) for line in handler.body().splitlines()]
    found = handler.repo_of(name, revision)
    if not found or not writable(handler):
        return
    repo, parent = found
    header = lines[0]["value"]
    if header.get("parentCommit", parent) != parent:
        return handler.refuse(412, None, "A commit has happened since. Please refresh and try again.")
    files = dict(repo.commits[parent])
    for line in lines[1:]:
        key, value = line["key"], line["value"]
        if key == "deletedFile":
            del files[value["path"]]
        elif key == "lfsFile":
            files[value["path"]] = handler.hub.blobs[value["oid"]]
        else:
            content = base64.b64decode(value["content"], validate=True)
            assert not is_lfs(content)
            files[value["path"]] = handler.hub.blobs[etag_of(content)] = content
    oid = repo.commit(files, revision)
    repo.messages = {**getattr(repo, "messages", {}), oid: header["summary"]}
    handler.send_json({"success": True, "commitOid": oid, "commitUrl": f"{handler.hub.url}/{name}/commit/{oid}", "hookOutput": "",
                       "pullRequestUrl": None})
