"""Families whose prompt has an encoder of its own."""
from .common import PLACEHOLDER, TEXT, Case


class Florence2(Case):
    """The prompt is the encoder's; the decoder begins with decoder_start_token_id."""
    begin = ()
    prompts = ([0], [1])
    text_after = 7

    def tokens(self, image):
        return [], [self.placeholder] * self.counts[image], [1]

    def load(self, folder, tensors):
        model = super().load(folder, tensors)
        model.generation_config.forced_eos_token_id = None
        return model

    def kind(self, tensor):
        return "float" if tensor.endswith(".bias") else None  # near 1 after the last norm, one token would win always

    def features(self, model, inputs):
        return model.model.get_image_features(**inputs).pooler_output


def cases():
    text = dict(model_type="bart", d_model=64, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4,
                decoder_attention_heads=2, encoder_ffn_dim=96, decoder_ffn_dim=256, max_position_embeddings=80,
                vocab_size=TEXT["vocab_size"], bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    vision = dict(embed_dim=[8, 16, 32], depths=[1, 2, 1], patch_size=[7, 3, 3], patch_stride=[4, 2, 2],
                  patch_padding=[3, 1, 1], patch_prenorm=[False, True, True], num_heads=[1, 2, 4], num_groups=[2, 4, 4],
                  window_size=3, projection_dim=64, max_position_embeddings=6, max_temporal_embeddings=4)
    config = dict(model_type="florence2", image_token_id=PLACEHOLDER, text_config=text, vision_config=vision)
    return {"florence2": Florence2(config, [((1, 48, 48, 3), ()), ((1, 40, 40, 3), ())], [10, 10])}
