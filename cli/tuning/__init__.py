"""Searching a source's settings on the validation part, by the instrument of `plait evaluate`.

The one idea: a trial is a row of an evaluation that judges validation, kept under the
same hashes. The search adds nothing to how a model is trained or judged.
"""
