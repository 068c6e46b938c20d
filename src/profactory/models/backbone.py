"""A pre-trained protein language model as a module from sequences to one vector per residue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from profactory.config.methods import METHODS
from profactory.data.structure_strings import KINDS, encode_structure
from profactory.errors import ConfigError
from profactory.models.architecture import (
    MIX,
    Stack,
    check_vocabulary,
    checked_layer,
    checkpoint_gradients,
    find_stack,
    position_limit,
    read_model_type,
    usual_length,
)
from profactory.models.batch import BackboneOutput, TokenBatch
from profactory.models.families import Family, recognise
from profactory.models.fetching import fetch
from profactory.models.loading import check_runnable, load_network, read_code
from profactory.models.packed import packable, packed_states
from profactory.models.pieces import spread
from profactory.models.quantised import dequantised
from profactory.models.tokenizing import (
    Encoder,
    ResidueTable,
    build_encoder,
    check_sequences,
    with_structure_ids,
)
from profactory.models.vocabulary import open_tokenizer, read_files
from profactory.models.zoo import ModelSpec, read_config

#: Adapters, and what belongs to weights in four bits.
_NOT_OF_BASE = re.compile(r"lora_|ia3_|ranknum|\.weight\.")


class Backbone(nn.Module):
    """A pre-trained model behind one interface for all families.

    Made by :meth:`load`. The states of a sequence do not depend on what else is in the batch.

    Attributes
    ----------
    spec : ModelSpec
        What was loaded; its revision is the commit that was found.
    width : int
        Numbers per residue.
    n_layers : int
        Transformer blocks.
    layer : int or str
        Whose output is taken: -1 the last (after the final normalisation), 0 the embedding, k the k-th;
        ``mix`` for all, the numbers of one after those of another.
    max_length : int
        Residues that a sequence is read to unless told otherwise.
    position_limit : int or None
        Residues beyond which the architecture has no positions; None where there is no such limit.
    has_cls : bool
        Whether a token stands for the whole sequence.
    method : str
        How it is tuned: ``freeze`` until :func:`profactory.models.tuning.apply_method` changes it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        family: Family,
        network: nn.Module,
        encoder: Encoder,
        *,
        layer: int | str = -1,
        tokenizer_files: dict[str, bytes] | None = None,
        mask_id: int | None = None,
        code: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network
        self.spec = spec
        self.family = family
        self.width = int(config.hidden_size)
        self.n_layers = int(config.num_hidden_layers)
        self.layer = checked_layer(layer, self.n_layers)
        self.position_limit = position_limit(family, config)
        self.max_length = usual_length(family, config, spec, self.position_limit)
        self.has_cls = family.has_cls
        self.method = "freeze"
        self.tokenizer_files = tokenizer_files or {}
        self.code = code or {"classes": {}, "files": {}}
        self._encoder = encoder
        self._pad = int(config.pad_token_id or 0)
        self._mask_id = None if family.subwords else mask_id
        self._pieces = None if encoder.piece_lengths is None else torch.from_numpy(encoder.piece_lengths)
        self._tokens = int(config.vocab_size)
        self._hash: str | None = None
        self._checkpointing = False
        self.requires_grad_(False)
        self.train(False)

    @classmethod
    def load(
        cls,
        spec: ModelSpec,
        *,
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
        trust_remote_code: bool = False,
        layer: int | str = -1,
    ) -> Backbone:
        """Load a model, from its folder or the Hub, frozen.

        Parameters
        ----------
        spec
            From :func:`profactory.models.zoo.resolve`.
        dtype
            Number format of the weights.
        attention
            ``auto`` (sdpa where the architecture has it), ``sdpa`` or ``eager``.
        trust_remote_code
            Run Python code from the model's repository, for families that need it.
        layer
            Whose output is taken; see :class:`Backbone`.

        Raises
        ------
        ModelLoadError
            If it cannot be got, is damaged, unsafe or of no supported family.
        """
        spec, folder = fetch(spec, trust_remote_code=trust_remote_code)
        model_type = read_model_type(read_config(folder), spec)
        check_runnable(folder, model_type, trust_remote_code=trust_remote_code)
        tokenizer = open_tokenizer(folder, model_type, trust_remote_code=trust_remote_code)
        family = recognise(model_type, tokenizer.vocabulary)
        with torch.random.fork_rng(devices=[]):
            # For heads that are neither in the file nor used; nobody else's random numbers are drawn.
            torch.manual_seed(0)
            network = load_network(folder, family, dtype=dtype, attention=attention)
        check_vocabulary(folder, tokenizer.vocabulary, network)
        encoder = build_encoder(tokenizer, family)
        if isinstance(encoder, ResidueTable) and family.needs_structure:
            config: Any = network.config
            encoder = with_structure_ids(encoder, config.vocab_size, config.ss_vocab_size)
        spec = replace(spec, family=family.name)
        files, mask = read_files(folder), tokenizer.mask_id
        code = read_code(folder) if family.remote_code else None
        return cls(
            spec, family, network, encoder, layer=layer, tokenizer_files=files, mask_id=mask, code=code
        )

    @property
    def frozen(self) -> bool:
        """Whether nothing in the backbone is trained."""
        return METHODS[self.method].frozen

    @property
    def mixed(self) -> bool:
        """Whether the output is of all layers."""
        return self.layer == MIX

    @property
    def stack(self) -> Stack:
        """The transformer blocks and what follows them."""
        return find_stack(self.network, self.n_layers)

    @property
    def used_layers(self) -> int:
        """Number of blocks that take part in the output."""
        if isinstance(self.layer, str):
            return self.n_layers
        return self.layer if self.layer >= 0 else self.n_layers + 1 + self.layer

    def beyond(self) -> list[nn.Module]:
        """Return the modules behind the layer whose output is taken."""
        if self.used_layers == self.n_layers:
            return []
        return [*self.stack.blocks[self.used_layers :], *self.stack.after]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; a frozen backbone stays in evaluation mode, so that its output never changes."""
        if self.training or not self.frozen:  # else it is as it must be
            super().train(mode and not self.frozen)
        return self

    def checkpoint_gradients(self) -> None:
        """Keep less in training; see :func:`profactory.models.architecture.checkpoint_gradients`."""
        checkpoint_gradients(self.network, self.spec)
        self._checkpointing = True

    def tokenize_masked(
        self,
        sequences: Sequence[str],
        hidden: Sequence[NDArray[np.bool_]],
        structures: Sequence[str] | None = None,
    ) -> list[NDArray[np.int64]]:
        """Do what :meth:`tokenize` does, with some residues masked: as in pre-training, or by X.

        Parameters
        ----------
        sequences, structures
            As for :meth:`tokenize`, none longer than what is read.
        hidden
            Which residues of each sequence; bool ``(residues,)``.
        """
        if self._mask_id is None:
            masks = zip(sequences, hidden, strict=True)
            sequences = ["".join(np.where(hide, "X", list(text))) for text, hide in masks]
            return self.tokenize(sequences, None, structures)
        found = self.tokenize(sequences, None, structures)
        for ids, hide in zip(found, hidden, strict=True):
            places = self._encoder.before + np.flatnonzero(hide)
            # The residue is hidden, a structure token of its own is not.
            structure = ids[places] - ids[places] % self._tokens if self.family.needs_structure else 0
            ids[places] = self._mask_id + structure
        return found

    def tokenize(
        self,
        sequences: Sequence[str],
        max_length: int | None = None,
        structures: Sequence[str] | None = None,
    ) -> list[NDArray[np.int64]]:
        """Turn sequences into token ids, special tokens included.

        Parameters
        ----------
        sequences
            Residue letters; lower case is read as upper case.
        max_length
            Residues that are kept of each; :attr:`max_length` if not given.
        structures
            For families whose tokens hold a structure letter: one checked string for each sequence.

        Returns
        -------
        list of ndarray
            One int64 array per sequence.

        Raises
        ------
        ConfigError
            If `max_length` is not positive or beyond the architecture's positions, or the tokens hold no
            structure.
        RowError
            If a sequence is empty or has characters that are no letters.
        """
        kept = self.max_length if max_length is None else max_length
        self.check_max_length(kept)
        check_sequences(sequences)
        encoder = self._encoder
        if structures is None:
            if self.family.needs_structure:
                raise _needs_structure(self.spec)
            return [encoder.encode(sequence[:kept]) for sequence in sequences]
        if not isinstance(encoder, ResidueTable) or encoder.combined is None:
            raise without_structure(self.spec)
        codes = (encode_structure(encoder.structure, text)[:kept] for text in structures)
        pairs = zip(sequences, codes, strict=True)
        return [encoder.encode(sequence[:kept], structure) for sequence, structure in pairs]

    def count_tokens(
        self,
        sequences: Sequence[str],
        max_length: int | None = None,
    ) -> NDArray[np.int64]:
        """Return how many ids :meth:`tokenize` gives for each sequence, ``(n,)``."""
        if self._encoder.piece_lengths is not None:
            ids = (self.tokenize([sequence], max_length)[0] for sequence in sequences)
            return np.fromiter(map(len, ids), np.int64, len(sequences))
        kept = self.max_length if max_length is None else max_length
        self.check_max_length(kept)
        residues = np.fromiter(map(len, sequences), np.int64, len(sequences)).clip(max=kept)
        return residues + self._encoder.before + self._encoder.after

    def token_table(self) -> dict[str, Any] | None:
        """Return how sequences become ids, ready for JSON: ids of letters, of what is around, of padding.

        None where a token may stand for several residues, which takes the tokenizer itself.
        """
        if not isinstance(self._encoder, ResidueTable):
            return None
        return {**self._encoder.to_dict(), "pad": self._pad}

    @property
    def pad_id(self) -> int:
        """Id of the padding."""
        return self._pad

    def check_max_length(self, max_length: int) -> None:
        """Refuse a length that the architecture has no positions for."""
        if max_length < 1 or (self.position_limit is not None and max_length > self.position_limit):
            raise ConfigError(
                f"max_length is {max_length:,}.",
                expected=f"1 to {self.position_limit:,} residues for {self.spec.name}"
                if self.position_limit
                else "at least 1 residue",
                fix="use a smaller --max-length, or a model without such a limit",
            )

    def collate(self, token_ids: Sequence[NDArray[np.int64]]) -> TokenBatch:
        """Pad ids on the right and stack them."""
        counts = np.array([len(ids) for ids in token_ids], np.int64)
        shape = (len(token_ids), int(counts.max(initial=0)))
        padded = np.full(shape, self._pad, np.int64)
        for row, ids in zip(padded, token_ids, strict=True):
            row[: len(ids)] = ids
        mask = (np.arange(shape[1]) < counts[:, None]).astype(np.int64)  # (batch, tokens)
        if self._encoder.piece_lengths is None:
            lengths = counts - self._encoder.before - self._encoder.after
        else:
            lengths = (self._encoder.piece_lengths[padded] * mask).sum(axis=1)
        return TokenBatch(torch.from_numpy(padded), torch.from_numpy(mask), torch.from_numpy(lengths))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> BackboneOutput:
        """Return the states of the residues.

        Parameters
        ----------
        input_ids, attention_mask, lengths
            See :class:`TokenBatch`.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            hidden = self._hidden(input_ids, attention_mask)  # (batch, tokens, width)
        residues = self._of_residues(hidden, input_ids, attention_mask, lengths)  # (batch, length, width)
        positions = torch.arange(residues.shape[1], device=residues.device)
        mask = positions < lengths[:, None]  # (batch, length)
        residues = residues.masked_fill(~mask[:, :, None], 0.0)
        return BackboneOutput(residues, mask, hidden[:, 0] if self.has_cls else None)

    def weights_hash(self) -> str:
        """Return the SHA-256 over the names, types and numbers of the pre-trained weights.

        Adapters and modules that take no part in hidden states do not count. The value is kept while the
        weights cannot change.
        """
        if self._hash is None or METHODS[self.method].changes_weights:
            digest = hashlib.sha256()
            for name, tensor in sorted(self.base_weights(), key=lambda item: item[0]):
                if set(self.family.unused) & set(name.split(".")):
                    continue  # not every checkpoint has them
                digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}\n".encode())
                numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(numbers.numpy().data)
            self._hash = digest.hexdigest()
        return self._hash

    def weights_changed(self) -> None:
        """Forget the hash: the pre-trained weights are no longer those that were loaded."""
        self._hash = None

    def base_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the pre-trained weights under the names that the library gives them, adapters left out.

        Weights that two names share are given once; weights in four bits as the numbers that they stand for.
        """
        seen: set[int] = set()
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            if _NOT_OF_BASE.search(name) or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            yield name.removeprefix("base_model.model.").replace(".base_layer.", "."), dequantised(tensor)

    def _of_residues(
        self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor
    ) -> Tensor:
        """Drop special tokens; where a token stands for several residues, give its state to each."""
        if self._pieces is None:
            return hidden[:, self._encoder.before : hidden.shape[1] - self._encoder.after]
        pieces = self._pieces.to(input_ids.device)[input_ids] * attention_mask  # (batch, tokens)
        return spread(hidden, pieces, int(lengths.max()))

    def _hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        inner = self.mixed or self.used_layers != self.n_layers
        on_processor = input_ids.device.type == "cpu" and not torch.compiler.is_exporting()
        known = not (inner or self.family.remote_code)  # code of a repository may do anything
        packed = packable(self.network) if on_processor and known else None
        if packed is not None:
            recompute = self._checkpointing and self.training
            return packed_states(packed, input_ids, attention_mask, recompute=recompute)
        output = self.network(
            **self._inputs(input_ids),
            attention_mask=attention_mask,
            output_hidden_states=inner or self.family.remote_code,
        )
        if self.mixed:
            return torch.cat(output.hidden_states, dim=-1)  # (batch, tokens, layers * width)
        if inner or self.family.remote_code:
            return output.hidden_states[self.layer]  # type: ignore[no-any-return]
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _inputs(self, input_ids: Tensor) -> dict[str, Tensor]:
        """Return the network's arguments; ids that hold a structure token of their own are parted."""
        if not self.family.needs_structure:
            return {"input_ids": input_ids}
        return {"input_ids": input_ids % self._tokens, "ss_input_ids": input_ids // self._tokens}


def _needs_structure(spec: ModelSpec) -> ConfigError:
    kind = KINDS[spec.structure]
    return ConfigError(
        f"{spec.name} reads {kind.title} beside every residue, and there are none.",
        expected=f"a table with a column called {', '.join(kind.columns)}; {kind.source}",
        fix="give that table to `profactory train`, or take a model that reads sequences alone",
    )


def without_structure(spec: ModelSpec) -> ConfigError:
    """Say that a model's tokens hold no structure."""
    return ConfigError(
        f"The tokens of {spec.name} hold no structure letters.",
        expected="a model of the families saprot, prostt5 or prosst",
        fix="--method ses-adapter reads structure strings beside any model",
    )
