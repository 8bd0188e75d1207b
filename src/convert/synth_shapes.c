/* synth_shapes.c: hyper-parameters of published models, as their config.json gives them. Members that do not change the
 * computation are left out. */
#include "convert/synth.h"

#define LLAMA3_ROPE(factor)                                                                                            \
    "\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":" factor                            \
    ",\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}"
#define LLAMA3                                                                                                         \
    "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","                       \
    "\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-05,\"vocab_size\":128256,\"attention_bias\":false,"        \
    "\"mlp_bias\":false,\"bos_token_id\":128000,\"eos_token_id\":[128001,128008,128009],"
#define GEMMA3                                                                                                         \
    "\"architectures\":[\"Gemma3ForCausalLM\"],\"model_type\":\"gemma3_text\","                                        \
    "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,"                     \
    "\"rope_local_base_freq\":10000.0,\"attention_bias\":false,\"attn_logit_softcapping\":null,"                       \
    "\"final_logit_softcapping\":null,\"sliding_window_pattern\":6,\"query_pre_attn_scalar\":256,\"head_dim\":256,"    \
    "\"tie_word_embeddings\":true,\"bos_token_id\":2,\"eos_token_id\":1,\"pad_token_id\":0,"
#define QWEN3                                                                                                          \
    "\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"rope_scaling\":null,"                   \
    "\"head_dim\":128,\"attention_bias\":false,\"vocab_size\":151936,\"max_position_embeddings\":40960,"               \
    "\"use_sliding_window\":false,\"sliding_window\":null,\"bos_token_id\":151643,\"eos_token_id\":151645,"
#define QWEN3_DENSE "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\"," QWEN3
#define QWEN2                                                                                                          \
    "\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"hidden_act\":\"silu\","                       \
    "\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"max_position_embeddings\":32768,"                               \
    "\"use_sliding_window\":false,\"sliding_window\":null,\"bos_token_id\":151643,\"eos_token_id\":151645,"
#define GPT_OSS                                                                                                        \
    "\"architectures\":[\"GptOssForCausalLM\"],\"model_type\":\"gpt_oss\",\"attention_bias\":true,"                    \
    "\"head_dim\":64,\"hidden_act\":\"silu\",\"hidden_size\":2880,\"intermediate_size\":2880,"                         \
    "\"max_position_embeddings\":131072,\"num_attention_heads\":64,\"num_key_value_heads\":8,"                         \
    "\"num_experts_per_tok\":4,\"rms_norm_eps\":1e-05,\"rope_theta\":150000.0,\"rope_scaling\":{"                      \
    "\"rope_type\":\"yarn\",\"factor\":32.0,\"beta_fast\":32.0,\"beta_slow\":1.0,"                                     \
    "\"original_max_position_embeddings\":4096,\"truncate\":false},\"sliding_window\":128,\"swiglu_limit\":7.0,"       \
    "\"tie_word_embeddings\":false,\"vocab_size\":201088,\"bos_token_id\":199998,\"eos_token_id\":200002,"             \
    "\"pad_token_id\":199999,"
#define DEEPSEEK                                                                                                       \
    "\"hidden_act\":\"silu\",\"hidden_size\":7168,\"intermediate_size\":18432,\"moe_intermediate_size\":2048,"         \
    "\"num_hidden_layers\":61,\"n_shared_experts\":1,\"num_experts_per_tok\":8,\"q_lora_rank\":1536,"                  \
    "\"kv_lora_rank\":512,\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,\"v_head_dim\":128,"                        \
    "\"norm_topk_prob\":true,\"scoring_func\":\"sigmoid\",\"topk_method\":\"noaux_tc\",\"attention_bias\":false,"      \
    "\"rms_norm_eps\":1e-06,\"tie_word_embeddings\":false,\"moe_layer_freq\":1,"

static const struct {
    const char *name, *config;
} shapes[] = {
    {"llama-3.2-1b", "{" LLAMA3 "\"hidden_size\":2048,\"intermediate_size\":8192,\"num_hidden_layers\":16,"
                     "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"head_dim\":64,"
                     "\"tie_word_embeddings\":true," LLAMA3_ROPE("32.0") "}"},
    {"llama-3.2-3b", "{" LLAMA3 "\"hidden_size\":3072,\"intermediate_size\":8192,\"num_hidden_layers\":28,"
                     "\"num_attention_heads\":24,\"num_key_value_heads\":8,\"head_dim\":128,"
                     "\"tie_word_embeddings\":true," LLAMA3_ROPE("32.0") "}"},
    {"llama-3.1-8b", "{" LLAMA3 "\"hidden_size\":4096,\"intermediate_size\":14336,\"num_hidden_layers\":32,"
                     "\"num_attention_heads\":32,\"num_key_value_heads\":8,"
                     "\"tie_word_embeddings\":false," LLAMA3_ROPE("8.0") "}"},
    {"llama-3.1-70b", "{" LLAMA3 "\"hidden_size\":8192,\"intermediate_size\":28672,\"num_hidden_layers\":80,"
                      "\"num_attention_heads\":64,\"num_key_value_heads\":8,"
                      "\"tie_word_embeddings\":false," LLAMA3_ROPE("8.0") "}"},
    {"gemma-3-270m", "{" GEMMA3 "\"hidden_size\":640,\"intermediate_size\":2048,\"num_hidden_layers\":18,"
                     "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"sliding_window\":512,"
                     "\"max_position_embeddings\":32768,\"vocab_size\":262144,\"rope_scaling\":null}"},
    {"gemma-3-1b", "{" GEMMA3 "\"hidden_size\":1152,\"intermediate_size\":6912,\"num_hidden_layers\":26,"
                   "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"sliding_window\":512,"
                   "\"max_position_embeddings\":32768,\"vocab_size\":262144,\"rope_scaling\":null}"},
    {"gemma-3-4b", "{" GEMMA3 "\"hidden_size\":2560,\"intermediate_size\":10240,\"num_hidden_layers\":34,"
                   "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"sliding_window\":1024,"
                   "\"max_position_embeddings\":131072,\"vocab_size\":262208,"
                   "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}}"},
    {"gemma-3-12b", "{" GEMMA3 "\"hidden_size\":3840,\"intermediate_size\":15360,\"num_hidden_layers\":48,"
                    "\"num_attention_heads\":16,\"num_key_value_heads\":8,\"sliding_window\":1024,"
                    "\"max_position_embeddings\":131072,\"vocab_size\":262208,"
                    "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}}"},
    {"mistral-7b", "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\",\"hidden_act\":\"silu\","
                   "\"hidden_size\":4096,\"intermediate_size\":14336,\"num_hidden_layers\":32,"
                   "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"max_position_embeddings\":32768,"
                   "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"sliding_window\":4096,"
                   "\"tie_word_embeddings\":false,\"vocab_size\":32000,\"bos_token_id\":1,\"eos_token_id\":2}"},
    {"qwen2.5-0.5b", "{" QWEN2 "\"hidden_size\":896,\"intermediate_size\":4864,\"num_hidden_layers\":24,"
                     "\"num_attention_heads\":14,\"num_key_value_heads\":2,\"vocab_size\":151936,"
                     "\"tie_word_embeddings\":true}"},
    {"qwen2.5-7b", "{" QWEN2 "\"hidden_size\":3584,\"intermediate_size\":18944,\"num_hidden_layers\":28,"
                   "\"num_attention_heads\":28,\"num_key_value_heads\":4,\"vocab_size\":152064,"
                   "\"tie_word_embeddings\":false}"},
    {"qwen3-0.6b", "{" QWEN3_DENSE "\"hidden_size\":1024,\"intermediate_size\":3072,\"num_hidden_layers\":28,"
                   "\"num_attention_heads\":16,\"num_key_value_heads\":8,\"tie_word_embeddings\":true}"},
    {"qwen3-1.7b", "{" QWEN3_DENSE "\"hidden_size\":2048,\"intermediate_size\":6144,\"num_hidden_layers\":28,"
                   "\"num_attention_heads\":16,\"num_key_value_heads\":8,\"tie_word_embeddings\":true}"},
    {"qwen3-4b", "{" QWEN3_DENSE "\"hidden_size\":2560,\"intermediate_size\":9728,\"num_hidden_layers\":36,"
                 "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"tie_word_embeddings\":true}"},
    {"qwen3-8b", "{" QWEN3_DENSE "\"hidden_size\":4096,\"intermediate_size\":12288,\"num_hidden_layers\":36,"
                 "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"tie_word_embeddings\":false}"},
    {"qwen3-30b-a3b", "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"model_type\":\"qwen3_moe\"," QWEN3
                      "\"hidden_size\":2048,\"intermediate_size\":6144,\"moe_intermediate_size\":768,"
                      "\"num_hidden_layers\":48,\"num_attention_heads\":32,\"num_key_value_heads\":4,"
                      "\"num_experts\":128,\"num_experts_per_tok\":8,\"norm_topk_prob\":true,"
                      "\"decoder_sparse_step\":1,\"mlp_only_layers\":[],\"tie_word_embeddings\":false}"},
    {"mixtral-8x7b", "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"hidden_act\":\"silu\","
                     "\"hidden_size\":4096,\"intermediate_size\":14336,\"num_hidden_layers\":32,"
                     "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"num_local_experts\":8,"
                     "\"num_experts_per_tok\":2,\"max_position_embeddings\":32768,\"rms_norm_eps\":1e-05,"
                     "\"rope_theta\":1000000.0,\"sliding_window\":null,\"tie_word_embeddings\":false,"
                     "\"vocab_size\":32000,\"bos_token_id\":1,\"eos_token_id\":2}"},
    /* Its published LongRoPE factors are left out: contexts beyond 4096 are not what random weights can show. */
    {"phi-3.5-moe", "{\"architectures\":[\"PhimoeForCausalLM\"],\"model_type\":\"phimoe\",\"hidden_act\":\"silu\","
                    "\"hidden_size\":4096,\"intermediate_size\":6400,\"num_hidden_layers\":32,"
                    "\"num_attention_heads\":32,\"num_key_value_heads\":8,\"num_local_experts\":16,"
                    "\"num_experts_per_tok\":2,\"attention_bias\":true,\"lm_head_bias\":true,"
                    "\"max_position_embeddings\":4096,\"original_max_position_embeddings\":4096,"
                    "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"rope_scaling\":null,\"sliding_window\":null,"
                    "\"router_jitter_noise\":0.01,\"input_jitter_noise\":0.01,\"tie_word_embeddings\":false,"
                    "\"vocab_size\":32064,\"bos_token_id\":1,\"eos_token_id\":32000}"},
    {"gpt-oss-20b", "{" GPT_OSS "\"num_hidden_layers\":24,\"num_local_experts\":32}"},
    {"gpt-oss-120b", "{" GPT_OSS "\"num_hidden_layers\":36,\"num_local_experts\":128}"},
    {"deepseek-v3", "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"deepseek_v3\"," DEEPSEEK
                    "\"num_attention_heads\":128,\"num_key_value_heads\":128,\"n_routed_experts\":256,\"n_group\":8,"
                    "\"topk_group\":4,\"routed_scaling_factor\":2.5,\"first_k_dense_replace\":3,"
                    "\"max_position_embeddings\":163840,\"rope_theta\":10000.0,\"rope_scaling\":{\"type\":\"yarn\","
                    "\"rope_type\":\"yarn\",\"factor\":40.0,\"beta_fast\":32.0,\"beta_slow\":1.0,\"mscale\":1.0,"
                    "\"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096},\"vocab_size\":129280,"
                    "\"bos_token_id\":0,\"eos_token_id\":1}"},
    {"kimi-k2", "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"model_type\":\"kimi_k2\"," DEEPSEEK
                "\"num_attention_heads\":64,\"num_key_value_heads\":64,\"n_routed_experts\":384,\"n_group\":1,"
                "\"topk_group\":1,\"routed_scaling_factor\":2.827,\"first_k_dense_replace\":1,"
                "\"max_position_embeddings\":131072,\"rope_theta\":50000.0,\"rope_scaling\":{\"type\":\"yarn\","
                "\"rope_type\":\"yarn\",\"factor\":32.0,\"beta_fast\":1.0,\"beta_slow\":1.0,\"mscale\":1.0,"
                "\"mscale_all_dim\":1.0,\"original_max_position_embeddings\":4096},\"vocab_size\":163840,"
                "\"bos_token_id\":163584,\"eos_token_id\":163585}"},
};

const char *dp_synth_name(size_t i) { return i < DP_COUNT(shapes) ? shapes[i].name : NULL; }
const char *dp_synth_config(size_t i) { return i < DP_COUNT(shapes) ? shapes[i].config : NULL; }
