"""Blocks of the recipe that say where work is done: a server that generates, a cluster of machines."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from chexalign.recipe.blocks import Block


class EndpointSpec(Block):
    """A server with the OpenAI chat-completions interface."""

    url: str = Field(description="base address, up to and with /v1", examples=["http://127.0.0.1:8000/v1"])
    model: str = Field(description="the model's name at the server", examples=["google/medgemma-4b-it"])
    api_key_env: str | None = Field(
        default=None, description="environment variable that holds the key", examples=["ENDPOINT_KEY"]
    )
    concurrency: int = Field(default=16, ge=1, description="requests under way at the same time")
    timeout_s: float = Field(default=600.0, gt=0, description="longest wait for one answer, in seconds")
    retries: int = Field(default=6, ge=0, description="further tries of a request that failed in passing")
    endpoint_is_mine: bool = Field(
        default=False, description="the server is yours, so that credentialed data may go there"
    )
    input_price: float | None = Field(
        default=None, ge=0, description="what a million prompt tokens cost; counted, never limited", examples=[0.5]
    )
    output_price: float | None = Field(
        default=None, ge=0, description="what a million written tokens cost", examples=[1.5]
    )
    extra_body: dict[str, Any] = Field(
        default={},
        description="further fields of every request that this server takes",
        examples=["{chat_template_kwargs: {enable_thinking: false}}"],
    )


class ClusterSpec(Block):
    """A Ray cluster, over which sampling and judging are spread."""

    address: str = Field(
        default="auto",
        description="`auto` for the cluster that this machine belongs to, `local` to start one here, or HOST:PORT",
    )
    actors: int = Field(default=1, ge=1, description="processes that each hold a policy or a judge", examples=[8])
    cpus_per_actor: float = Field(default=1.0, ge=0, description="CPU cores that an actor takes")
    gpus_per_actor: float = Field(default=0.0, ge=0, description="GPUs that an actor takes")
