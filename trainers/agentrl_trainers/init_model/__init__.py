"""Making a small model where no pretrained one is at hand."""

from agentrl_trainers.init_model._model import InitializedModel, init_model
from agentrl_trainers.init_model._texts import environment_texts
from agentrl_trainers.init_model._tokenizer import Template, chat_template

__all__ = ["InitializedModel", "Template", "chat_template", "environment_texts", "init_model"]
