"""Keeps one vLLM server answering: starts it, watches it, and restarts it with safer settings when it breaks.

In: settings, a model folder and the interpreter of vLLM's environment. Out: an Endpoint. The server is ready after its
first token. It is broken when its process ends, when requests are open and no token comes for `hang_s`, or when a
client says so and a probe confirms it. Then it is killed with its descendants. After the first break of a serving
server the settings stay, since most breaks are accidents; a second break within `steady_s` and a failed start lead to a
lower rung of the ladder. A cause that no settings fix, a failure in the very words of the last under the same settings,
or `max_failed_starts` in a row, ends it. It knows nothing of attempts; the client replays these.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import trio

from kit.engines.vllm.client.endpoint import Address
from kit.engines.vllm.client.faults import RefusedError
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.client.watchdog import Watchdog
from kit.engines.vllm.client.wire import probe_request
from kit.engines.vllm.server.diagnosis import Cause, Diagnosis, diagnose, read_capacity
from kit.engines.vllm.server.ladder import as_told, next_rung
from kit.engines.vllm.server.ports import free_port
from kit.engines.vllm.server.process import ServerLog, ServerProcess, running
from kit.engines.vllm.server.settings import HOST, ServerSettings, environment
from kit.engines.vllm.server.supervision import Break, Incident, Launch, OnNews, ServerNews, SupervisorConfig, nobody
from kit.errors import EngineError
from kit.tasks import background

log = logging.getLogger(__name__)

_LAST_WORDS_S = 3.0
_SHOWN_LINES = 30  # of the log, where a server is given up


class Supervisor:
    """See the module; made by `open_server`. An Endpoint.

    settings: of the present server. incidents: all breaks so far.
    """

    def __init__(
        self, launch: Launch, settings: ServerSettings, config: SupervisorConfig, *, on_news: OnNews = nobody
    ) -> None:
        self._on_news = on_news
        self.settings = settings
        self.incidents: list[Incident] = []
        self._launch = launch
        self._config = config
        self._http = HttpClient()
        self._rng = Random()
        self._log = ServerLog(launch.scratch / "server.log")
        self._watchdog = Watchdog()
        self._address: Address | None = None
        self._suspect: Address | None = None
        self._given_up = ""
        self._moved = trio.Event()
        self._generation = 0
        self._num_failed_starts = 0

    @property
    def watchdog(self) -> Watchdog:
        """See Endpoint."""
        return self._watchdog

    @property
    def is_ready(self) -> bool:
        """Whether it answers, as far as is known."""
        return self._address is not None

    async def ready(self) -> Address:
        """See Endpoint.

        Raises: EngineError with the cause, the fix and the end of the log, once the server is given up.
        """
        while self._address is None:
            if self._given_up:
                raise EngineError(self._given_up)
            await self._moved.wait()
        return self._address

    def report_broken(self, address: Address) -> None:
        """See Endpoint: no request goes there until a probe has succeeded."""
        if self._address is not None and self._address.generation == address.generation:
            self._suspect, self._address = self._address, None
            self._move()

    async def run(self) -> None:
        """Keep the server running; returns when it is given up."""
        self._launch.scratch.mkdir(parents=True, exist_ok=True)
        try:
            while not self._given_up:
                await self._one_start()
        finally:
            self._log.close()

    async def _one_start(self) -> None:
        """One start, up to its break and what follows."""
        self._generation += 1
        served_s = 0.0
        try:
            port = free_port(self._rng)
            self._log.begin(f"start {self._generation} on port {port}: {self.settings}")
            async with self._started(port) as server:
                kind, served_s = await self._serve(server, port)
                if served_s:
                    silent_s = self._watchdog.silence_s(trio.current_time())
                    self._on_news(ServerNews(is_back=False, why=f"the server {kind.value}", silent_s=silent_s))
                self._withdraw()
                if kind in {Break.HUNG, Break.MUTE}:
                    await server.stop(is_hung=True)
        except EngineError as error:  # no port, no reaper
            self._log.add(f"{error}\n".encode())
            kind = Break.NOT_STARTED
        self._withdraw()
        await self._follow(kind, served_s)

    @asynccontextmanager
    async def _started(self, port: int) -> AsyncIterator[ServerProcess]:
        scratch = self._launch.scratch
        variables = environment(self.settings, self._launch.ours, port=port, cache_folder=scratch / "cache")
        command = self._launch.command(self.settings, port)
        async with running(command, variables, log=self._log, folder=scratch, grace_s=self._config.grace_s) as server:
            yield server

    async def _serve(self, server: ServerProcess, port: int) -> tuple[Break, float]:
        """Watch one server until it breaks; returns how, and for how many seconds it was ready."""
        url = f"http://{HOST}:{port}"
        address: Address | None = None
        kind = Break.NOT_IN_TIME
        with trio.move_on_after(self._config.start_timeout_s):
            address = await self._first_token(server, url)
            kind = Break.NOT_STARTED  # where it has ended
        if address is None:
            return kind, 0.0
        begun_s = trio.current_time()
        self._watchdog.restarted()
        self._num_failed_starts = 0
        log.info("%s answers: start %d, context %s", url, address.generation, address.context_tokens)
        log.info("vLLM's memory: %s", read_capacity(self._log.tail) or "not told")
        self._announce(address)
        if any(incident.served_s for incident in self.incidents):
            self._on_news(ServerNews(is_back=True))
        kind = await self._until_break(server)
        return kind, trio.current_time() - begun_s

    async def _first_token(self, server: ServerProcess, url: str) -> Address | None:
        """Ask for one token until it comes; None once the process has ended."""
        while server.returncode is None:
            try:
                await self._http.get_text(f"{url}/health", timeout_s=self._config.probe_timeout_s)
                # the first token may compile something, so only the start's own limit holds
                await self._probe(url, timeout_s=self._config.start_timeout_s)
                return await self._address_of(url)
            except EngineError:
                await trio.sleep(self._config.tick_s)
        return None

    async def _probe(self, url: str, *, timeout_s: float) -> None:
        await self._http.post_json(f"{url}/v1/completions", probe_request(self._launch.model_name), timeout_s=timeout_s)

    async def _address_of(self, url: str) -> Address:
        listed = await self._http.get_json(f"{url}/v1/models", timeout_s=self._config.probe_timeout_s)
        models = listed.get("data") or [{}]
        context = models[0].get("max_model_len")
        return Address(url=url, model=self._launch.model_name, context_tokens=context, generation=self._generation)

    async def _until_break(self, server: ServerProcess) -> Break:
        while True:
            await trio.sleep(self._config.tick_s)
            if server.returncode is not None:
                return Break.EXITED
            if self._watchdog.silence_s(trio.current_time()) >= self._config.hang_s:
                return Break.HUNG
            if self._suspect is not None and not await self._is_well(server, self._suspect):
                # a dying server is given a moment, so that its log tells of what
                with trio.move_on_after(_LAST_WORDS_S):
                    await server.wait()
                return Break.EXITED if server.returncode is not None else Break.MUTE

    async def _is_well(self, server: ServerProcess, suspect: Address) -> bool:
        """Probe a server that a client doubts; if it answers, announce it again."""
        well = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_end, server, nursery.cancel_scope)
            try:
                await self._probe(suspect.url, timeout_s=self._config.probe_timeout_s)
                well = True
            except RefusedError:
                well = True  # it answers, which is all that is asked
            except EngineError as error:
                log.warning("%s: %s", suspect.url, error)
            nursery.cancel_scope.cancel()
        if well:
            self._announce(suspect)
        return well

    async def _follow(self, kind: Break, served_s: float) -> None:
        """After a break: the same settings, a lower rung, or the end."""
        diagnosis = diagnose(self._log.tail)
        past = [each for each in self.incidents if each.served_s]
        self.incidents.append(
            Incident(
                kind=kind,
                diagnosis=diagnosis,
                settings=self.settings,
                served_s=served_s,
                generation=self._generation,
            )
        )
        served = f" after it had served for {served_s:.0f} s" if served_s else ""
        log.warning("the server %s%s: %s", kind.value, served, diagnosis)
        if served_s:
            is_steady = served_s >= self._config.steady_s
            if past and not is_steady:
                self._lower(diagnosis)
            return
        self._num_failed_starts += 1
        # The damaged model may be the draft, so without it there is one more start. A model that has served is not
        # damaged, even if its log says so: the log itself may have filled the disk.
        is_final = diagnosis.cause.is_final and self.settings.speculation is None and not past
        if is_final or self._is_as_before() or self._num_failed_starts >= self._config.max_failed_starts:
            self._give_up(kind, diagnosis)
            return
        if diagnosis.cause is not Cause.PORT_TAKEN:
            self._lower(diagnosis)
        await trio.sleep(self._config.pause_s)

    def _is_as_before(self) -> bool:
        """Whether this start failed in the very words of the one before, under the very same settings."""
        *_, before, last = [None, *self.incidents]
        if before is None or before.served_s or last is None or not last.diagnosis.line:
            return False
        is_accident = last.diagnosis.cause in {Cause.PORT_TAKEN, Cause.ENGINE_DIED}
        return not is_accident and (before.diagnosis.line, before.settings) == (last.diagnosis.line, last.settings)

    def _lower(self, diagnosis: Diagnosis) -> None:
        rung = as_told(self.settings, diagnosis) or next_rung(self.settings, diagnosis.cause)
        if rung is None:
            log.warning("the server is started again as it was: there are no safer settings")
            return
        log.warning("the server is started again with safer settings: %s", rung.given_up)
        self.settings = rung.settings

    def _give_up(self, kind: Break, diagnosis: Diagnosis) -> None:
        shown = "\n".join(self._log.tail.splitlines()[-_SHOWN_LINES:])
        self._given_up = (
            f"the server {kind.value} and is given up ({self._num_failed_starts} failed starts). Likely cause: "
            f"{diagnosis}. The end of {self._launch.scratch / 'server.log'}:\n{shown}"
        )
        log.error("%s", self._given_up)
        self._move()

    def _announce(self, address: Address) -> None:
        self._address, self._suspect = address, None
        self._move()

    def _withdraw(self) -> None:
        self._address = self._suspect = None
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


async def _cancel_on_end(server: ServerProcess, scope: trio.CancelScope) -> None:
    await server.wait()
    scope.cancel()


@asynccontextmanager
async def open_server(
    launch: Launch, settings: ServerSettings, config: SupervisorConfig | None = None, *, on_news: OnNews = nobody
) -> AsyncIterator[Supervisor]:
    """A server that is kept answering until this is left. It starts at once; `ready` waits for it.

    on_news: told when a server that had served is gone, and when there is one again.
    """
    async with background() as nursery:
        supervisor = Supervisor(launch, settings, config or SupervisorConfig(), on_news=on_news)
        nursery.start_soon(supervisor.run)
        yield supervisor
