"""A LoRA adapter on its base model."""

from pathlib import Path

from safetensors.torch import load_file
from transformers import PreTrainedModel

from debater_search.encoder.loading.files import weight_files
from debater_search.errors import DamagedError, InvalidError


def with_adapter(backbone: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Put a LoRA adapter on a model.

    Raises DamagedError if it cannot be read, InvalidError if any of its tensors does not fit the model.
    """
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

    weight_files(folder)
    try:
        settings = PeftConfig.from_pretrained(str(folder))
        if not getattr(settings, "target_modules", None):
            raise ValueError("adapter_config.json names no target_modules")
        weights = load_file(folder / "adapter_model.safetensors")
    except Exception as error:  # safetensors, JSON and peft raise many kinds
        raise DamagedError(f"The adapter in {folder} cannot be read ({error}).", "Fetch it again.") from error
    settings.inference_mode, settings.base_model_name_or_path, settings.task_type = True, None, None
    # An adapter saved on the model with its head names every layer one `model.` deeper; the head itself is not used.
    weights = {k.replace("base_model.model.model.", "base_model.model.", 1): v for k, v in weights.items()
               if ".lm_head." not in k}  # fmt: skip
    for name in ("target_modules", "modules_to_save"):
        if isinstance(targets := getattr(settings, name), list | set):
            setattr(settings, name, {target.removeprefix("model.") for target in targets} - {"lm_head"} or None)
    try:
        adapted = get_peft_model(backbone, settings)
        report = set_peft_model_state_dict(adapted, weights)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InvalidError(
            f"The adapter in {folder} does not fit its base model: {reason}", "Check base_model."
        ) from error
    lost = [*report.unexpected_keys, *(k for k in report.missing_keys if "lora_" in k or "trainable_tokens" in k)]
    if lost:
        raise InvalidError(
            f"The adapter in {folder} does not fit its base model ({len(lost)} tensors, first: {lost[0]}).",
            "Check base_model.",
        )
    return adapted.eval()
