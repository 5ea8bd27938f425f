"""Get images: one pull per image at a time, credentials as the client sent them, and no registry needed for what is here."""

import asyncio
import json
import re
from typing import Any

from aiodocker.exceptions import DockerError

from cluster.aio.clock import Clock
from worker.engine.docker_http import DockerLink, RefusedCall, engine_words
from worker.ports import NoSuchImage

PATIENCE = 15.0
"""Seconds that a registry has to begin an answer when the image is here already."""
_UNREACHABLE_FOR = 60.0
"""Seconds for which a registry that failed is not asked again about an image that is here."""
_DIGEST = re.compile(r"@[a-z0-9]+:[0-9a-f]{32,}\Z")


class Images:
    """What an engine has, and how it gets more."""

    def __init__(self, link: DockerLink, clock: Clock, *, patience: float = PATIENCE) -> None:
        self._link = link
        self._clock = clock
        self._patience = patience
        self._pulling: dict[tuple[str, str], _Pull] = {}
        self._failed: dict[str, float] = {}

    async def ensure(self, image: str, *, registry_auth: str) -> None:
        """See that it is here. Tags are looked up at the registry each time, as they move; ids and digests are not."""
        key = (image, registry_auth)
        pull = self._pulling.setdefault(key, _Pull())
        pull.waiting += 1
        seen = pull.finished
        try:
            async with pull.turn:
                if pull.finished == seen:
                    await self._ensure(image, registry_auth)
                    pull.finished += 1
        finally:
            pull.waiting -= 1
            if not pull.waiting:
                self._pulling.pop(key, None)

    async def _ensure(self, image: str, registry_auth: str) -> None:
        here = await self._inspect(image)
        if here is not None and (_DIGEST.search(image) or _names_by_id(image, str(here["Id"]))):
            return
        if here is not None and self._clock.monotonic() - self._failed.get(image, float("-inf")) < _UNREACHABLE_FOR:
            return
        try:
            await self._pull(image, registry_auth, patience=None if here is None else self._patience)
        except (RefusedCall, TimeoutError) as error:
            if here is None:
                raise NoSuchImage(f"No such image: {image}: {error}") from error
            self._failed[image] = self._clock.monotonic()
        else:
            self._failed.pop(image, None)

    async def _inspect(self, image: str) -> dict[str, Any] | None:
        docker = await self._link.docker()
        try:
            with engine_words(self._link.address):
                found: dict[str, Any] = await docker.images.inspect(image)
                return found
        except RefusedCall as error:
            if error.status in (400, 404):  # 400: not a reference at all; the pull will say so
                return None
            raise

    async def _pull(self, image: str, registry_auth: str, *, patience: float | None) -> None:
        headers = {"X-Registry-Auth": registry_auth} if registry_auth else {}
        query = {"fromImage": image} if _tagged(image) else {"fromImage": image, "tag": "latest"}
        async with asyncio.timeout(patience) as limit:
            with engine_words(self._link.address):  # inside: our own patience says nothing about the engine
                async with self._link.stream("POST", "images/create", query=query, headers=headers) as content:
                    async for line in content:
                        limit.reschedule(None)  # the registry answered: from here on it takes as long as it takes
                        _raise_failure(line)

    def unreachable(self) -> frozenset[str]:
        """Images that were last used without their registry's word."""
        return frozenset(self._failed)


class _Pull:
    """Those who wait for the same image; `finished` tells whoever gets the turn that it was done while they waited."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting = 0
        self.finished = 0


def _raise_failure(line: bytes) -> None:
    """The status is 200 before the outcome is known: failures come as a line of the progress."""
    try:
        progress = json.loads(line)
    except ValueError:
        return
    if isinstance(progress, dict) and progress.get("error"):
        raise DockerError(404, str(progress["error"]))


def _tagged(image: str) -> bool:
    """Without a tag the engine would pull every tag that there is."""
    return "@" in image or ":" in image.rpartition("/")[2]


def _names_by_id(image: str, image_id: str) -> bool:
    wanted, is_id = image.removeprefix("sha256:"), image_id.removeprefix("sha256:")
    return len(wanted) >= 6 and is_id.startswith(wanted)
