"""Keys under management by one client, and what must be so of them whenever the server is killed."""

import copy
import http.client
import json
import random
from dataclasses import dataclass, field
from typing import Any

from strongroom.testing.server import Server
from strongroom.testing.signed_client import SignedClient


@dataclass
class Key:
    """What can be changed of a key."""

    description: str = ""
    state: str = "Enabled"
    policy: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Managed:
    """The keys and aliases as the server acknowledged them, and as they are if the last change was made too."""

    name: str
    keys: dict[str, Key] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    asked: tuple[dict[str, Key], dict[str, str]] | None = None
    request_ids: list[str] = field(default_factory=list)

    def create(self, client: SignedClient) -> None:
        reply = client.call("CreateKey", {"Description": self.name})
        metadata: Any = reply.json()["KeyMetadata"]
        policy: Any = client.call("GetKeyPolicy", {"KeyId": metadata["KeyId"]}).json()["Policy"]
        self.keys[metadata["KeyId"]] = Key(self.name, policy=policy)
        self.request_ids.append(reply.request_id)

    def change(self, client: SignedClient, choose: random.Random) -> None:
        """Change something of one of the keys, or of an alias."""
        keys, aliases = copy.deepcopy((self.keys, self.aliases))
        key_id = choose.choice(sorted(keys))
        operation, members = _changed(keys[key_id], key_id, aliases, choose, self.name)
        self.asked = keys, aliases
        reply = client.call(operation, members)
        assert reply.status == 200, (operation, reply.body)
        self.keys, self.aliases = keys, aliases
        self.asked = None
        self.request_ids.append(reply.request_id)

    def check(self, client: SignedClient) -> None:
        """Everything is as it was acknowledged, or as the change would have it that was under way."""
        found = {key_id: _read(client, key_id) for key_id in self.keys}
        aliases: dict[str, str] = {}
        for key_id in self.keys:
            listed: Any = client.call("ListAliases", {"KeyId": key_id}).json()["Aliases"]
            aliases |= {alias["AliasName"]: alias["TargetKeyId"] for alias in listed}
        assert (found, aliases) in [(self.keys, self.aliases), self.asked]


def manage(server: Server, managed: Managed) -> None:
    """Make two keys and change them until the server is gone."""
    choose = random.Random(managed.name)
    client = SignedClient(server, timeout=10)
    try:
        for _ in range(2):
            managed.create(client)
        while True:
            managed.change(client, choose)
    except (OSError, http.client.HTTPException):
        client.close()


def _changed(
    key: Key, key_id: str, aliases: dict[str, str], choose: random.Random, name: str
) -> tuple[str, dict[str, object]]:
    """Change the model; return the request that asks the server for the same."""
    named: dict[str, object] = {"KeyId": key_id}
    if key.state == "PendingDeletion":
        key.state = "Disabled"
        return "CancelKeyDeletion", named
    word = f"{choose.random():.12f}"
    match choose.randrange(8):
        case 0:
            key.description = f"dëscription {word}"
            return "UpdateKeyDescription", named | {"Description": key.description}
        case 1:
            tag = f"tag {choose.randrange(4)}"
            key.tags[tag] = word
            return "TagResource", named | {"Tags": [{"TagKey": tag, "TagValue": word}]}
        case 2:
            tag = f"tag {choose.randrange(4)}"
            key.tags.pop(tag, None)
            return "UntagResource", named | {"TagKeys": [tag]}
        case 3:
            document = json.loads(key.policy)
            document["Id"] = word
            key.policy = json.dumps(document, indent=choose.randrange(4))
            return "PutKeyPolicy", named | {"Policy": key.policy}
        case 4:
            enable = key.state == "Disabled"
            key.state = "Enabled" if enable else "Disabled"
            return "EnableKey" if enable else "DisableKey", named
        case 5:
            key.state = "PendingDeletion"
            return "ScheduleKeyDeletion", named
        case _:
            return _changed_alias(key_id, aliases, f"alias/{name}/{choose.randrange(3)}", choose)


def _changed_alias(
    key_id: str, aliases: dict[str, str], alias: str, choose: random.Random
) -> tuple[str, dict[str, object]]:
    if alias in aliases and choose.randrange(3) == 0:
        del aliases[alias]
        return "DeleteAlias", {"AliasName": alias}
    operation = "UpdateAlias" if alias in aliases else "CreateAlias"
    aliases[alias] = key_id
    return operation, {"AliasName": alias, "TargetKeyId": key_id}


def _read(client: SignedClient, key_id: str) -> Key:
    metadata: Any = client.call("DescribeKey", {"KeyId": key_id}).json()["KeyMetadata"]
    policy: Any = client.call("GetKeyPolicy", {"KeyId": key_id}).json()["Policy"]
    tags: Any = client.call("ListResourceTags", {"KeyId": key_id}).json()["Tags"]
    return Key(
        metadata["Description"],
        metadata["KeyState"],
        policy,
        {tag["TagKey"]: tag["TagValue"] for tag in tags},
    )
