"""What other trainers call settings and options of a run, and what they are called here: for hints."""

_OURS = {
    "learning_rate": "lr",
    "max_steps": "steps train_steps",
    "epochs": "num_epochs num_train_epochs",
    "warmup_steps": "warmup",
    "batch_size": "bs train_batch_size per_device_train_batch_size",
    "gradient_cache": "gradient_accumulation_steps grad_cache chunk_size",
    "model": "base_model model_name model_name_or_path backbone",
    "output": "output_dir save_dir",
    "data": "dataset train_file train_data dataset_file_path",
    "lora.r": "lora_r lora_rank rank",
    "lora.alpha": "lora_alpha",
    "lora.dropout": "lora_dropout",
    "lora.rslora": "use_rslora",
    "lora.dora": "use_dora",
    "quantize": "load_in_4bit quantization",
    "max_length.document": "max_seq_length passage_max_len",
    "max_length.query": "query_max_len",
    "precision": "bf16 fp16 torch_dtype",
    "schedule": "scheduler lr_scheduler_type",
    "max_grad_norm": "clip grad_clip",
    "negatives": "hard_negatives train_group_size",
    "loss.scale": "tau loss_scale",
    "search_instruction": "instruction",
    "eval.every": "eval_steps",
    "eval.task": "dev",
    "thinking.steps": "num_thinking_tokens",
    "--processes": "processes nproc_per_node num_processes",
    "--device": "device",
    "--resume": "resume resume_from_checkpoint",
    "--force": "force overwrite_output_dir",
}

SYNONYMS = {theirs: ours for ours, names in _OURS.items() for theirs in names.split()}
"""Their name → ours."""
