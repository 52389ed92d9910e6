#pragma once

// The C ABI of the Rust library; only src/tokenizer and src/media include it. A panic inside a call is caught. Text is
// UTF-8 with a length. The caller owns every object that a call returns and frees it with the matching *_free.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  MLXK_OK = 0,
  MLXK_FAILED = 1,       // `error` is the reason
  MLXK_RAISED = 2,       // the template called raise_exception; `error` is its text
  MLXK_PANIC = 3,        // a panic was caught; `error` is its text
  MLXK_STOPPED = 4,      // an mlxk_stop returned nonzero
  MLXK_TOO_LONG = 5,     // the text has more tokens than allowed, or more bytes than a tokenizer accepts at once
  MLXK_MEMORY = 6,       // the system is out of memory, or cannot start a thread
  MLXK_TOO_COMPLEX = 7,  // a grammar exceeds a limit, which `error` names
};

/// Cancels a call: `stop` (null: never) is polled on the thread of the call and returns nonzero to end the call. It
/// must not throw.
typedef struct {
  void* context;
  int (*stop)(void* context);
} mlxk_stop;

typedef struct {
  char* data;
  size_t size;
} mlxk_text;
void mlxk_text_free(mlxk_text text);

typedef struct mlxk_tokenizer mlxk_tokenizer;
/// Parses the bytes of a tokenizer.json. Its truncation and padding are ignored.
int mlxk_tokenizer_from_json(const char* json, size_t size, mlxk_tokenizer** out, mlxk_text* error);
void mlxk_tokenizer_free(mlxk_tokenizer* tokenizer);
/// `tokens`: a JSON array of AddedToken objects with "id". A token that would get another id is skipped. Must be called
/// before the tokenizer is shared.
int mlxk_tokenizer_add_tokens(mlxk_tokenizer* tokenizer, const char* tokens, size_t size, mlxk_text* error);
/// `json`: a pre-tokenizer / post-processor as in tokenizer.json. Must be called before the tokenizer is shared.
int mlxk_tokenizer_set_pre_tokenizer(mlxk_tokenizer* tokenizer, const char* json, size_t size, mlxk_text* error);
int mlxk_tokenizer_set_post_processor(mlxk_tokenizer* tokenizer, const char* json, size_t size, mlxk_text* error);
/// The JSON of the pre-tokenizer / post-processor; `null` if there is none.
int mlxk_tokenizer_pre_tokenizer(const mlxk_tokenizer* tokenizer, mlxk_text* out, mlxk_text* error);
int mlxk_tokenizer_post_processor(const mlxk_tokenizer* tokenizer, mlxk_text* out, mlxk_text* error);

/// The ids of `text`. MLXK_TOO_LONG if there are more than `max_tokens`, not counting the special tokens that are
/// added.
int mlxk_tokenizer_encode(const mlxk_tokenizer* tokenizer, const char* text, size_t size, int add_special_tokens,
                          size_t max_tokens, mlxk_stop stop, int32_t** ids, size_t* count, mlxk_text* error);
/// The template of the post-processor: the ids that it adds around a text (-1), or around two texts (-1, -2) if `pair`,
/// and the type of each token. Both lists are freed with mlxk_ids_free.
int mlxk_tokenizer_frame(const mlxk_tokenizer* tokenizer, int pair, int32_t** ids, int32_t** types, size_t* count,
                         mlxk_text* error);
/// `text` in lower case, by the rules of Unicode.
int mlxk_lower_case(const char* text, size_t size, mlxk_text* out, mlxk_text* error);
void mlxk_ids_free(int32_t* ids, size_t count);
int mlxk_tokenizer_decode(const mlxk_tokenizer* tokenizer, const int32_t* ids, size_t count, int skip_special_tokens,
                          mlxk_text* out, mlxk_text* error);
/// -1: no such token.
int64_t mlxk_tokenizer_token_to_id(const mlxk_tokenizer* tokenizer, const char* token, size_t size);
/// 1 and the token in `out` if `id` has one, else 0.
int mlxk_tokenizer_id_to_token(const mlxk_tokenizer* tokenizer, int32_t id, mlxk_text* out);
/// The bytes of the token `id` inside a text; empty if `id` is outside the vocabulary.
void mlxk_tokenizer_token_bytes(const mlxk_tokenizer* tokenizer, int32_t id, mlxk_text* out);
int32_t mlxk_tokenizer_vocab_size(const mlxk_tokenizer* tokenizer);
int mlxk_tokenizer_is_special(const mlxk_tokenizer* tokenizer, int32_t id);

typedef struct mlxk_stream mlxk_stream;
mlxk_stream* mlxk_stream_new(const mlxk_tokenizer* tokenizer, int skip_special_tokens);
void mlxk_stream_free(mlxk_stream* stream);
int mlxk_stream_push(mlxk_stream* stream, int32_t id, mlxk_text* out, mlxk_text* error);
int mlxk_stream_finish(mlxk_stream* stream, mlxk_text* out, mlxk_text* error);

typedef struct mlxk_template mlxk_template;
int mlxk_template_compile(const char* source, size_t size, mlxk_template** out, mlxk_text* error);
void mlxk_template_free(mlxk_template* tmpl);
/// `context`: a JSON object of variables. `now`: the time of strftime_now in seconds since 1970 (UTC); negative: the
/// clock. A render that exceeds its memory or time limit fails. If it had to be stopped in the middle of an
/// instruction, every later render of the template fails too.
int mlxk_template_render(const mlxk_template* tmpl, const char* context, size_t size, int64_t now, mlxk_stop stop,
                         mlxk_text* out, mlxk_text* error);

typedef struct mlxk_grammar_env mlxk_grammar_env;  // a vocabulary prepared for grammars, once per tokenizer
/// `eos`: the ids allowed where the grammar may end (not empty).
int mlxk_grammar_env_new(const mlxk_tokenizer* tokenizer, const int32_t* eos, size_t count, mlxk_grammar_env** out,
                         mlxk_text* error);
void mlxk_grammar_env_free(mlxk_grammar_env* env);
/// The ids (int32_t each) of the tokens that start with `text` and continue after it; if `anywhere`, of the tokens that
/// contain `text` and continue after it.
int mlxk_grammar_env_beyond(const mlxk_grammar_env* env, const char* text, size_t size, int anywhere, mlxk_text* out,
                            mlxk_text* error);

typedef struct mlxk_grammar mlxk_grammar;
/// `kind`: json_schema, regex, lark or grammars (several as JSON, see grammar.h).
int mlxk_grammar_new(const mlxk_grammar_env* env, const char* kind, const char* source, size_t size, mlxk_grammar** out,
                     mlxk_text* error);
/// An independent copy. Must not be called while another thread uses `grammar`.
int mlxk_grammar_clone(const mlxk_grammar* grammar, mlxk_grammar** out, mlxk_text* error);
void mlxk_grammar_free(mlxk_grammar* grammar);
/// Sets bit i of `words` for every id i that is allowed next. Clears all other bits, also those past the vocabulary.
int mlxk_grammar_mask(mlxk_grammar* grammar, uint32_t* words, size_t count, mlxk_text* error);
/// MLXK_FAILED if `id` breaks the grammar; MLXK_TOO_COMPLEX if a limit is exceeded.
int mlxk_grammar_accept(mlxk_grammar* grammar, int32_t id, mlxk_text* error);

/// The bytes of a recording. `read` returns the number of bytes written, 0 at the end, negative on failure. `seek`
/// (null: a pipe) returns 0 on success. `size`: -1 if not known. Neither function may throw.
typedef struct {
  void* context;
  int64_t (*read)(void* context, uint8_t* into, size_t size);
  int (*seek)(void* context, uint64_t offset);
  int64_t size;
} mlxk_bytes;

/// libopus, the decoder of Opus streams. `create` returns null on failure; `decode` returns the number of frames (at
/// 48 kHz), negative on failure.
typedef struct {
  void* context;
  void* (*create)(void* context, int channels, int streams, int coupled, const uint8_t* mapping);
  int (*decode)(void* decoder, const uint8_t* data, size_t size, float* pcm, int frames);
  void (*destroy)(void* decoder);
} mlxk_opus;

typedef struct mlxk_audio mlxk_audio;  // a recording as mono samples at 16 kHz
/// Reads the header up to the audio data. `bytes` is copied; its context must outlive the recording.
int mlxk_audio_open(const mlxk_bytes* bytes, const mlxk_opus* opus, mlxk_audio** out, mlxk_text* error);
/// The rate of the samples, in place of 16 kHz; before the first of them is read.
void mlxk_audio_set_rate(mlxk_audio* audio, uint32_t rate);
/// Reads the next samples, at most `size`. `got` is 0 only at the end. No samples follow a failure.
int mlxk_audio_read(mlxk_audio* audio, float* into, size_t size, size_t* got, mlxk_text* error);
/// The duration in the header, in seconds; 0: not known.
double mlxk_audio_seconds(const mlxk_audio* audio);
void mlxk_audio_free(mlxk_audio* audio);

typedef struct mlxk_resampler mlxk_resampler;  // mono samples of any rate that arrive over time, to another rate
int mlxk_resampler_open(uint32_t rate, uint32_t target, mlxk_resampler** out, mlxk_text* error);
/// `ready`: samples that mlxk_resampler_fetch will copy. They come up to 0.1 s late.
int mlxk_resampler_push(mlxk_resampler* resampler, const float* samples, size_t size, size_t* ready, mlxk_text* error);
/// The samples that are late; afterwards only fetch and free.
int mlxk_resampler_finish(mlxk_resampler* resampler, size_t* ready, mlxk_text* error);
void mlxk_resampler_fetch(mlxk_resampler* resampler, float* into);
void mlxk_resampler_free(mlxk_resampler* resampler);

typedef struct mlxk_image mlxk_image;  // a PNG, WebP, GIF, BMP or TIFF image; of an animation the first frame
/// Reads the header. `data` must live as long as the image.
int mlxk_image_open(const uint8_t* data, size_t size, mlxk_image** out, uint64_t* width, uint64_t* height,
                    mlxk_text* error);
/// Decodes into `rgb`, [height, width, 3]; `size` must be height * width * 3. Must be called once only.
int mlxk_image_read(mlxk_image* image, uint8_t* rgb, size_t size, mlxk_stop stop, mlxk_text* error);
void mlxk_image_free(mlxk_image* image);

/// Renders `svg` to a PNG, scaled by `scale`. Text is set in Roboto, which the library contains; characters that Roboto
/// lacks are set in the fonts of the system.
int mlxk_svg_to_png(const char* svg, size_t size, float scale, mlxk_text* png, mlxk_text* error);

#ifdef __cplusplus
}
#endif
