"""An MLServer model that answers its rows as they came, each beside the call that it was in and how many were in it."""

import asyncio

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

TIME = 0.03  # seconds that a run takes, however many rows it has


class Together(MLModel):
    async def load(self) -> bool:
        self.calls = 0
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.calls += 1
        call = self.calls
        await asyncio.sleep(TIME)
        outputs = [
            ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
            for tensor in payload.inputs
        ]
        rows = payload.inputs[0].shape[0]
        for name, number in (("call", call), ("rows", rows)):
            outputs.append(ResponseOutput(name=name, shape=[rows, 1], datatype="INT64", data=[number] * rows))
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)
