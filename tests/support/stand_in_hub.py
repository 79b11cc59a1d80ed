"""A hub of models on this machine, which speaks as much of the real one's language as a push and a load need."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class StandInHub:
    """What lies there: the files of every commit, by the name of the repository."""

    url: str = ""
    token: str = "hf_stand_in"
    private: dict[str, bool] = field(default_factory=dict)
    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def newest(self, name: str) -> str:
        """The hash of the last commit."""
        return list(self.commits[name])[-1]

    def files(self, name: str) -> dict[str, bytes]:
        """The files of the last commit."""
        return self.commits[name][self.newest(name)]

    def commit(self, name: str, lines: list[dict]) -> str:
        """Adds what a push says to what is there."""
        files = dict(self.files(name))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[name][oid] = files
        return oid


def is_large(path: str) -> bool:
    """Whether a file is kept under its SHA-256, as the hub does it by its name."""
    return path.endswith(".safetensors")


def entry(path: str, content: bytes) -> dict:
    """A file as the hub lists it."""
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    found = {"type": "file", "path": path, "size": len(content), "oid": git}
    if is_large(path):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found


def handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    """Answers for one hub."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Nothing."""

        def body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def say(self, content: object, status: int = 200, **headers: str) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {hub.token}"

        def do_POST(self) -> None:
            path, content = urlsplit(self.path).path, self.body()
            hub.asked.append(f"POST {path}")
            if not self.allowed():
                return self.say({"error": f"no, {self.headers.get('Authorization')}"}, 401)
            if path == "/api/repos/create":
                told = json.loads(content)
                name = f"{told.get('organization') or 'me'}/{told['name']}"
                there = name in hub.commits
                hub.commits.setdefault(name, {"0" * 40: {}})
                hub.private.setdefault(name, told.get("private") or told.get("visibility") == "private")
                return self.say({"url": f"{hub.url}/{name}", "id": name}, 409 if there else 200)
            if path == "/api/validate-yaml":
                return self.say({"errors": [], "warnings": []})
            if path.endswith("/info/lfs/objects/batch"):
                wanted = json.loads(content)["objects"]
                links = [{**each, "actions": {"upload": {"href": f"{hub.url}/large/{each['oid']}"}}} for each in wanted]
                return self.say({"transfer": "basic", "objects": links})
            name, what = "/".join(path.split("/")[3:5]), path.split("/")[5]
            if what == "preupload":
                modes = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if is_large(each["path"]) else "regular",
                        "shouldIgnore": False,
                    }
                    for each in json.loads(content)["files"]
                ]
                return self.say({"files": modes})
            oid = hub.commit(name, [json.loads(line) for line in content.splitlines()])
            return self.say({"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid})

        def do_PUT(self) -> None:
            content = self.body()
            hub.large[self.path.rsplit("/", 1)[-1]] = content
            self.say({})

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            if parts[0] == "api":
                name, rest = "/".join(parts[2:4]), parts[4:]
                if name not in hub.commits or (hub.private[name] and not self.allowed()):
                    return self.say({"error": "Repository not found"}, 401, X_Error_Code="RepoNotFound")
                commit = self.commit_of(name, rest[1] if rest else "main")
                if commit is None:
                    return self.say({"error": "Revision Not Found"}, 404, X_Error_Code="RevisionNotFound")
                files = hub.commits[name][commit]
                if rest[:1] == ["tree"]:
                    return self.say([entry(*each) for each in files.items()])
                told = {"id": name, "sha": commit, "private": hub.private[name], "tags": []}
                return self.say(told | {"siblings": [{"rfilename": each} for each in files]})
            name, commit, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
            content = hub.commits[name][commit][file]
            told = entry(file, content)
            tag = told.get("lfs", told)["oid"]
            return self.say(content, ETag=f'"{tag}"', X_Repo_Commit=commit, X_Linked_Size=str(len(content)))

        def commit_of(self, name: str, revision: str) -> str | None:
            known = hub.commits[name]
            return list(known)[-1] if revision == "main" else revision if revision in known else None

    return Answers


@contextmanager
def stand_in_hub(cache: Path) -> Iterator[StandInHub]:
    """The hub, to which the library speaks while the context lasts, as a user who is logged in."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    hub = StandInHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", hub.token)
        disable_progress_bars()
        try:
            yield hub
        finally:
            server.shutdown()
            server.server_close()
            huggingface_hub.close_session()
            enable_progress_bars()
