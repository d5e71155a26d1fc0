"""A DBOS in memory, for a virtual clock: workflows as tasks, messages as queues, rows as counts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import attrs
from dbos import error

__all__ = ["FakeDbos"]

Function = Callable[..., Coroutine[Any, Any, Any]]


@attrs.define(eq=False)
class FakeDbos:
    """What the engine uses of DBOS.

    Attributes:
        is_launched: Whether it takes queues.
        rows: What would be written, by kind.
        results: What the steps have returned.
        queues: The queues, with their settings.
        running: The tasks of the workflows, by their ids.
    """

    is_launched: bool = True
    rows: Counter[str] = attrs.field(factory=Counter)
    results: list[Any] = attrs.field(factory=list)
    queues: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    running: dict[str, asyncio.Task[Any]] = attrs.field(factory=dict)
    _boxes: dict[str, asyncio.Queue[Any]] = attrs.field(factory=dict)

    def step(self, *, name: str) -> Callable[[Function], Function]:
        """Count what a step returns."""

        def decorate(function: Function) -> Function:
            async def run(*arguments: Any) -> Any:
                result = await function(*arguments)
                self.rows[name] += 1
                self.results.append(result)
                return result

            return run

        return decorate

    def workflow(self, *, name: str, max_recovery_attempts: None) -> Callable[[Function], Function]:
        """Take a workflow as it is; it must never be given up."""
        assert name
        return lambda function: function

    async def register_queue_async(self, name: str, **settings: Any) -> None:
        """Take a queue."""
        if not self.is_launched:
            raise error.DBOSException("System database accessed before DBOS was launched")
        self.queues[name] = settings

    async def enqueue_workflow_async(self, queue: str, function: Function, name: str) -> Any:
        """Run a workflow once."""
        workflow = f"{queue}:{name}"
        if workflow not in self.running:
            self._boxes[workflow] = asyncio.Queue()
            self.running[workflow] = asyncio.create_task(function(name), name=workflow)

        async def get_status() -> Any:
            is_over = self.running[workflow].done()
            return SimpleNamespace(status="SUCCESS" if is_over else "PENDING")

        return SimpleNamespace(get_status=get_status)

    async def get_result_async(self, workflow: str) -> Any:
        """Wait for a workflow."""
        return await self.running[workflow]

    async def send_async(self, workflow: str, message: Any, *, topic: str) -> None:
        """Send a message."""
        assert topic
        if workflow not in self._boxes:
            raise error.DBOSNonExistentWorkflowError("target", workflow)
        self.rows["message"] += 1
        self._boxes[workflow].put_nowait(message)

    async def recv_async(self, topic: str, *, timeout_seconds: float) -> Any:
        """Wait for a message; two rows, as DBOS writes."""
        assert topic
        task = asyncio.current_task()
        assert task is not None
        self.rows["recv"] += 2
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._boxes[task.get_name()].get()
        except TimeoutError:
            return None
