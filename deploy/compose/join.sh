#!/bin/bash
# Gives a gateway that has not joined a join string, in the file `join` of its data folder.
#
#   join.sh GATEWAY_FOLDER
#
# Names are never given twice, so each string is for a name of its own.
set -euo pipefail

folder=$1
if [[ -s $folder/node.crt ]]; then
    echo "the gateway has joined already"
    exit
fi
printf -v now '%(%s)T' -1
sortie --allow-http gateway join "compose-$now" --valid 1h --join-file "$folder/join"
