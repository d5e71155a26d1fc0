"""The machine runs in Temporal's workflow sandbox as it is; what a server would send is made here.

The sandbox imports a workflow's modules anew and refuses clocks, chance, files and sockets.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import temporal_workflow
from temporalio import workflow
from temporalio.api.common.v1.message_pb2 import Payloads
from temporalio.bridge.proto.workflow_activation.workflow_activation_pb2 import (
    InitializeWorkflow,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.converter import DataConverter
from temporalio.worker import WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, _runner


async def run(defined: type) -> Any:
    """Run a workflow in the sandbox to its end, as a worker does, and give what it has returned."""
    definition = workflow._Definition.must_from_class(defined)
    converter = DataConverter.default
    instance = SandboxedWorkflowRunner().create_instance(
        WorkflowInstanceDetails(
            payload_converter_factory=converter._new_payload_converter,
            failure_converter_class=converter.failure_converter_class,
            interceptor_classes=[],
            defn=definition,
            info=_runner._fake_info,
            randomness_seed=1,
            extern_functions={},
            disable_eager_activity_execution=False,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )
    )
    begin = InitializeWorkflow(
        workflow_type="payout",
        workflow_id="po-1",
        arguments=converter.payload_converter.to_payloads(["po-1"]),
    )
    activation = WorkflowActivation(
        run_id="run-1", jobs=[WorkflowActivationJob(initialize_workflow=begin)]
    )
    activation.timestamp.FromSeconds(1_800_000_000)
    completion = await asyncio.to_thread(instance.activate, activation)  # it is a loop itself
    assert not completion.HasField("failed"), completion.failed
    [command] = completion.successful.commands
    return json.loads(command.complete_workflow_execution.result.data)


async def test_a_payout_is_folded_in_the_sandbox() -> None:
    """A workflow leads a payout from its first state to its last by the machine alone."""
    assert [
        "new",
        "validating",
        "validated",
        "awaiting-final",
        "awaiting-final",
        "final",
    ] == await run(temporal_workflow.PayoutWorkflow)


async def test_the_sandbox_forbids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no machine does not pass: the sandbox is the real one."""
    source = Path(temporal_workflow.__file__).read_text("utf-8")
    bad = source.replace("at = workflow.now().timestamp()", "import time; at = time.time()")
    assert bad != source
    (tmp_path / "bad_workflow.py").write_text(bad, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import bad_workflow  # type: ignore[import-not-found] # noqa: PLC0415 - made right here

    with pytest.raises(AssertionError, match=r"Cannot access time\.time\.__call__"):
        await run(bad_workflow.PayoutWorkflow)
