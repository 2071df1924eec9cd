"""`tritonclient.http` through the gateway: MLServer with JSON tensors, and the binary tensor extension."""

import numpy
import tritonclient.http as triton

from harness.expect import equal, true
from harness.report import Book

check = Book("tritonclient")
run = check.run
TENSORS = {
    "floats": numpy.arange(24, dtype=numpy.float32).reshape(4, 6) / 7,
    "whole": numpy.array([[1, -2, 3]], dtype=numpy.int64),
}
TYPES = {"floats": "FP32", "whole": "INT64"}


def client(gateway) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(gateway.authority, connection_timeout=10, network_timeout=10)


def infer(gateway, model: str, binary: bool, tensors: dict) -> None:
    """Sends tensors to an identity model and expects the same ones back."""
    inputs, outputs = [], []
    for name, tensor in tensors.items():
        one = triton.InferInput(name, tensor.shape, TYPES[name])
        one.set_data_from_numpy(tensor, binary_data=binary)
        inputs.append(one)
        outputs.append(triton.InferRequestedOutput(name, binary_data=binary))
    with client(gateway) as api:
        result = api.infer(model, inputs, outputs=outputs)
    for name, tensor in tensors.items():
        got = result.as_numpy(name)
        true(got is not None and numpy.array_equal(got, tensor), f"{name} came back as {got}")


@check("server live and ready")
def ready(bench):
    with client(bench.kserve) as api:
        true(api.is_server_live(), "not live")
        true(api.is_server_ready(), "not ready")
        true(api.is_model_ready("identity"), "the model is not ready")


@check("model metadata")
def metadata(bench):
    with client(bench.kserve) as api:
        equal(api.get_model_metadata("identity")["name"], "identity", "name")


@check("infer with JSON tensors")
def json_tensors(bench):
    infer(bench.kserve, "identity", False, TENSORS)


@check("infer with binary tensors (the echo server: MLServer has no binary tensors)")
def binary_tensors(bench):
    infer(bench.echo, "binary", True, TENSORS)


@check("infer with a binary tensor of 4 MiB")
def large_tensor(bench):
    infer(bench.echo, "binary", True, {"floats": numpy.arange(1 << 20, dtype=numpy.float32)})


@check("an unknown model raises InferenceServerException")
def unknown(bench):
    with client(bench.kserve) as api:
        try:
            api.get_model_metadata("nobody")
        except triton.InferenceServerException as error:
            equal(error.status(), "404", "status")
            return
    raise AssertionError("no error was raised")
