"""Functions that the cases of all families share."""
VOCAB = 128
TRANSFORMERS = "transformers"  # in place of a change: the reference if mlx-lm leaves something out
TRANSFORMERS_FILES = "transformers' files"  # the same, and the tensors are named and shaped as in its own checkpoints

BASE = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
            rms_norm_eps=1e-5, vocab_size=VOCAB, max_position_embeddings=256)


def case(model_type, **more):
    config = dict(BASE, model_type=model_type)
    config.update(more)
    return {k: v for k, v in config.items() if v is not None}


def quantized(bits, group, mode="affine", **more):
    return case("llama", hidden_size=128, intermediate_size=128, num_hidden_layers=1, tie_word_embeddings=True,
                quantization=dict(group_size=group, bits=bits, mode=mode, **more))


def sliding(count, every):
    return ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(count)]
