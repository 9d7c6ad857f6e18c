"""Forward pass of the Llama family (Llama, Qwen2, Qwen3) over the slotted cache, on the model's own parameters.

RMSNorm, rotary positions, grouped-query attention, optional norms of queries and keys, optional biases, SwiGLU, tied or
untied head. Query, key and value projections are fused to one matrix, and so are gate and up; the transformers model's
parameters become views into the fused ones, so weights exist once and an update in place reaches both.
Axis legend: N = packed rows, E = hidden size, Q = query heads, H = KV heads, D = head dimension, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from agentrl.policy.embedded._batch import ALIGNMENT, Run, Segment, StepBatch
from agentrl.policy.embedded._kv import KVPool
from agentrl.trajectory._types import Int32

MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})
_POSITION_FREE_ROPE = frozenset({"default", "linear", "llama3", "yarn"})


def linear(x_NE: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply, with at least four rows: CPU kernels for fewer round differently, and a row must not see its batch."""
    rows = x_NE.shape[0]
    if 0 < rows < 4:
        return F.linear(F.pad(x_NE, (0, 0, 0, 4 - rows)), weight, bias)[:rows]
    return F.linear(x_NE, weight, bias)


@dataclass(slots=True)
class Projection:
    """One or several linear layers as one matrix: weight [out, in] and bias [out] or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


@dataclass(slots=True)
class Layer:
    """Parameters of one decoder layer."""

    input_norm: nn.Parameter
    qkv: Projection
    query_norm: nn.Parameter | None
    key_norm: nn.Parameter | None
    head_norm_PD: torch.Tensor | None
    out: Projection
    mlp_norm: nn.Parameter
    gate_up: Projection
    down: Projection


def fuse(linears: Sequence[Any]) -> Projection:
    """Fuse linear layers with the same input; their parameters become views of the result."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    biases = [linear.bias for linear in linears]
    if any((bias is None) != (biases[0] is None) for bias in biases):
        biases = [
            torch.zeros(linear.out_features, device=weight.device, dtype=weight.dtype) if bias is None else bias
            for linear, bias in zip(linears, biases, strict=True)
        ]
    fused_bias = None if biases[0] is None else torch.cat([bias.detach() for bias in biases])
    start = 0
    for linear in linears:
        end = start + linear.out_features
        linear.weight.data = weight[start:end]
        if linear.bias is not None and fused_bias is not None:
            linear.bias.data = fused_bias[start:end]
        start = end
    return Projection(weight, fused_bias)


def serves(model: Any) -> bool:
    """Return whether this runner computes what `model` computes."""
    config = model.config
    layer_types = getattr(config, "layer_types", None) or ["full_attention"]
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in MODEL_TYPES
        and config.hidden_act == "silu"
        and all(kind == "full_attention" for kind in layer_types)
        and rope.get("rope_type", "default") in _POSITION_FREE_ROPE
    )


class LlamaRunner:
    """Runs the Llama family.

    Args:
        model: A transformers causal model for which `serves` is true; it belongs to the runner from now on.
        slots: Rows of the cache.
        max_context: Positions of a row.
    """

    def __init__(self, model: Any, slots: int, max_context: int) -> None:
        config, decoder = model.config, model.model
        first = decoder.layers[0].self_attn
        self.query_heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = first.head_dim
        self.vocabulary: int = model.lm_head.out_features
        self._epsilon: float = config.rms_norm_eps
        self._scaling: float = first.scaling
        self._embedding = decoder.embed_tokens
        self._final_norm = decoder.norm
        self._head = model.lm_head
        weight = decoder.embed_tokens.weight
        self.device: torch.device = weight.device
        self.dtype: torch.dtype = weight.dtype
        self._layers = [self._layer(layer) for layer in decoder.layers]
        self.pool = KVPool(
            layers=len(self._layers),
            slots=slots,
            heads=self.kv_heads,
            positions=-(-max_context // ALIGNMENT) * ALIGNMENT,
            head_dim=self.head_dim,
            device=self.device,
            dtype=self.dtype,
        )
        self._keys = [self.pool.keys_LSHTD[index] for index in range(len(self._layers))]
        self._values = [self.pool.values_LSHTD[index] for index in range(len(self._layers))]
        self._heads_H = torch.arange(self.kv_heads, device=self.device)
        positions = torch.arange(max_context, device=self.device)[None]
        cos, sin = decoder.rotary_emb(weight, positions)
        half = self.head_dim // 2
        # The sign of the rotation is in the table, so that rotating is a roll and not a concatenation.
        self._cos_TD = cos[0].contiguous()
        self._sin_TD = torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        self.refresh()

    def _layer(self, layer: Any) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query_norm = getattr(attention, "q_norm", None)
        key_norm = getattr(attention, "k_norm", None)
        return Layer(
            input_norm=layer.input_layernorm.weight,
            qkv=fuse([attention.q_proj, attention.k_proj, attention.v_proj]),
            query_norm=None if query_norm is None else query_norm.weight,
            key_norm=None if key_norm is None else key_norm.weight,
            head_norm_PD=None,
            out=Projection(attention.o_proj.weight, attention.o_proj.bias),
            mlp_norm=layer.post_attention_layernorm.weight,
            gate_up=fuse([mlp.gate_proj, mlp.up_proj]),
            down=Projection(mlp.down_proj.weight, mlp.down_proj.bias),
        )

    def refresh(self) -> None:
        """Recompute what is derived from weights; call after every update of them."""
        for layer in self._layers:
            if layer.query_norm is not None and layer.key_norm is not None:
                query = layer.query_norm.detach().expand(self.query_heads, self.head_dim)
                key = layer.key_norm.detach().expand(self.kv_heads, self.head_dim)
                layer.head_norm_PD = torch.cat([query, key])

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Compute the batch, write its keys and values to the pool, return float32 logits of its output rows."""
        # Row of (slot, head, position) in a pool layer seen as [S * H * T, D].
        rows_NH = batch.slots_N[:, None] * self.kv_heads + self._heads_H
        write_at = (rows_NH * self.pool.positions + batch.positions_N[:, None]).flatten()
        hidden_NE = self._decoder(batch.tokens_N, batch.positions_N, batch.runs, batch.segments, write_at)
        if batch.output_rows is not None:
            hidden_NE = hidden_NE[batch.output_rows]
        return self._logits(hidden_NE)

    def score(self, sequences: Sequence[Int32], starts: Sequence[int]) -> list[torch.Tensor]:
        """Return float32 log-probs of tokens[start:] of each sequence, computed together and without the pool."""
        tokens_N = torch.cat([torch.from_numpy(tokens) for tokens in sequences]).to(self.device, torch.int64)
        positions_N = torch.cat([torch.arange(len(tokens)) for tokens in sequences]).to(self.device)
        segments: list[Segment] = []
        wanted: list[torch.Tensor] = []
        row = 0
        for tokens, start in zip(sequences, starts, strict=True):
            segments.append(Segment(row, len(tokens), 0, 0, None))
            wanted.append(torch.arange(row + start - 1, row + len(tokens) - 1))
            row += len(tokens)
        hidden_NE = self._decoder(tokens_N, positions_N, (), tuple(segments), None)
        rows = torch.cat(wanted).to(self.device)
        targets_N = tokens_N[rows + 1]
        parts: list[torch.Tensor] = []
        for chunk, target in zip(torch.split(rows, _SCORE_ROWS), torch.split(targets_N, _SCORE_ROWS), strict=True):
            logits = self._logits(hidden_NE[chunk])
            parts.append(logits.gather(1, target[:, None])[:, 0] - torch.logsumexp(logits, dim=-1))
        return list(torch.split(torch.cat(parts), [len(part) for part in wanted]))

    def _logits(self, hidden_NE: torch.Tensor) -> torch.Tensor:
        hidden_NE = F.rms_norm(hidden_NE, hidden_NE.shape[-1:], self._final_norm.weight, self._epsilon)
        return linear(hidden_NE, self._head.weight, self._head.bias).float()

    def _decoder(
        self,
        tokens_N: torch.Tensor,
        positions_N: torch.Tensor,
        runs: tuple[Run, ...],
        segments: tuple[Segment, ...],
        write_at: torch.Tensor | None,
    ) -> torch.Tensor:
        rotated = self.query_heads + self.kv_heads
        heads = rotated + self.kv_heads
        cos_N1D, sin_N1D = self._cos_TD[positions_N][:, None], self._sin_TD[positions_N][:, None]
        hidden_NE = F.embedding(tokens_N, self._embedding.weight)
        shape_E = hidden_NE.shape[-1:]
        for index, layer in enumerate(self._layers):
            normed_NE = F.rms_norm(hidden_NE, shape_E, layer.input_norm, self._epsilon)
            qkv = layer.qkv(normed_NE).view(-1, heads, self.head_dim)
            qk = qkv[:, :rotated]
            if layer.head_norm_PD is not None:
                qk = F.rms_norm(qk, (self.head_dim,), None, self._epsilon) * layer.head_norm_PD
            qk = torch.addcmul(qk * cos_N1D, qk.roll(self.head_dim // 2, -1), sin_N1D)
            q_NQD, k_NHD, v_NHD = qk[:, : self.query_heads], qk[:, self.query_heads :], qkv[:, rotated:]
            if write_at is not None:
                self._keys[index].view(-1, self.head_dim).index_copy_(0, write_at, k_NHD.reshape(-1, self.head_dim))
                self._values[index].view(-1, self.head_dim).index_copy_(0, write_at, v_NHD.reshape(-1, self.head_dim))
            parts = [self._attend_run(run, index, q_NQD) for run in runs]
            parts += [self._attend_segment(segment, index, q_NQD, k_NHD, v_NHD) for segment in segments]
            attended_NE = parts[0] if len(parts) == 1 else torch.cat(parts)
            hidden_NE = hidden_NE + layer.out(attended_NE)
            normed_NE = F.rms_norm(hidden_NE, shape_E, layer.mlp_norm, self._epsilon)
            gate, up = layer.gate_up(normed_NE).chunk(2, dim=-1)
            hidden_NE = hidden_NE + layer.down(F.silu(gate).mul_(up))
        return hidden_NE

    def _attend_run(self, run: Run, index: int, q_NQD: torch.Tensor) -> torch.Tensor:
        """Attend one query per slot over a view of the pool; the queries of a KV head are taken together."""
        query = q_NQD[run.first_row : run.first_row + run.rows]
        if run.row_of_slot is not None:
            query = query[run.row_of_slot]
        query = query.reshape(run.slots, self.kv_heads, -1, self.head_dim)
        view = slice(run.first_slot, run.first_slot + run.slots)
        attended = F.scaled_dot_product_attention(
            query,
            self._keys[index][view, :, : run.length],
            self._values[index][view, :, : run.length],
            attn_mask=run.mask_R11T,
            scale=self._scaling,
        ).reshape(run.slots, -1)
        return attended if run.slot_of_row is None else attended[run.slot_of_row]

    def _attend_segment(
        self, segment: Segment, index: int, q_NQD: torch.Tensor, k_NHD: torch.Tensor, v_NHD: torch.Tensor
    ) -> torch.Tensor:
        """Attend a prompt part over its own rows, or over everything its slot holds."""
        view = slice(segment.first_row, segment.first_row + segment.rows)
        if segment.mask_QT is None:
            keys, values = k_NHD[view].transpose(0, 1)[None], v_NHD[view].transpose(0, 1)[None]
        else:
            length = segment.past + segment.rows
            keys = self._keys[index][segment.slot : segment.slot + 1, :, :length]
            values = self._values[index][segment.slot : segment.slot + 1, :, :length]
        attended = F.scaled_dot_product_attention(
            q_NQD[view].transpose(0, 1)[None],
            keys,
            values,
            attn_mask=segment.mask_QT,
            is_causal=segment.mask_QT is None,
            scale=self._scaling,
            enable_gqa=self.query_heads != self.kv_heads,
        )
        return attended[0].transpose(0, 1).reshape(segment.rows, -1)


_SCORE_ROWS = 512
