# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with run.sh and its other parts
# The forward pass: logits against an independent one, and the same bits from every build, table and number of threads. Read by run.sh.
# ---- forward pass ----
pack random-tokens "$work/t.aqtk" --vocab 96 --count 300
logits() { # logits OUT PACK FLAGS ENGINE...: of the first 12 tokens; no OUT when the engine fails
    logits_out=$1 logits_model=$2 logits_flags=$3; shift 3
    rm -f "$logits_out"
    # shellcheck disable=SC2086
    "$@" logits --model "$logits_model" --tokens "$work/t.aqtk" --count 12 --out "$logits_out" $logits_flags && return
    logits_code=$?
    rm -f "$logits_out"
    return $logits_code
}
forward() { # forward SUBJECT TOLERANCE PACK-ARGUMENTS...: against the independent forward pass, then every build and ISA
    subject=$1 tol=$2; shift 2
    file=$work/$subject.gguf
    pack pack "$file" "$@"
    logits "$work/$subject.logits" "$file" "--isa scalar" "$x64"
    check "logits of $subject against an independent forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$work/$subject.logits" 12 "$tol"
    for isa in $isas; do
        logits "$work/isa.logits" "$file" "--isa $isa --threads 2" "$x64"
        case $subject-$isa in *bf16*-avx512bf16) # the instruction has its own order of additions
            check "logits of $subject, $isa against the forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$work/isa.logits" 12 "$tol"
            continue ;;
        esac
        check "logits of $subject, $isa with 2 threads: the same bits" same "$work/$subject.logits" "$work/isa.logits"
    done
    if [ -n "$san" ]; then
        isa=auto
        case $subject in *bf16*) isa=scalar; logits "$work/san.logits" "$file" "--threads 3" "$san" ;; esac
        check "forward pass of $subject, sanitized" logits "$work/san.logits" "$file" "--isa $isa --threads 3" "$san"
        check "logits of $subject, sanitized: the same bits" same "$work/$subject.logits" "$work/san.logits"
    fi
    # Emulation is slow: every Arm table has the plain packs, the first and the last one all others (BENCH_LONG: every one).
    threads=2 tables=$arm_tables
    case $subject in
        *-bf16) [ -n "${BENCH_LONG:-}" ] || tables="$some_arm_tables $bf16_arm_table" ;;
        *-*) [ -n "${BENCH_LONG:-}" ] || tables=$some_arm_tables ;;
        *) threads="1 3" ;;
    esac
    for table in $tables; do
        like=$work/$subject.logits wrong= # what the logits must equal
        case ${table#*:}:$subject in *-fp16:*fp16 | *-fp16-bf16:*fp16 | *-bf16:*-bf16) # 16-bit arithmetic: its own logits, within a tolerance
            like=$work/half.logits
            logits "$like" "$file" "--isa ${table#*:}" "$qemu" -cpu "${table%:*}" "$arm"
            check "logits of $subject, ${table#*:}, against an independent forward pass" python3 "$here/reference.py" "$file" "$work/t.aqtk" "$like" 12 0.01 ;;
        esac
        for n in $threads; do
            logits "$work/arm.logits" "$file" "--isa ${table#*:} --threads $n" "$qemu" -cpu "${table%:*}" "$arm"
            same "$like" "$work/arm.logits" || wrong="$wrong $n"
        done
        check "logits of $subject, ${table#*:} on ${table%:*}, threads $threads: the same bits" [ -z "$wrong" ]
    done
}
tolerance() { case $1 in fp16) echo 0.002 ;; w8a8) echo 0.02 ;; w4a8) echo 0.03 ;; *) echo 0.25 ;; esac }
for p in fp16 w8a8 w4a8 w4a4; do
    tied=; [ $p = fp16 ] && tied=--tied
    # shellcheck disable=SC2086
    forward $p "$(tolerance $p)" --precision $p --rope-freqs $tied
done
for p in fp16 w4a8; do
    forward "llama-biases-$p" "$(tolerance $p)" --precision $p --biases
    forward "opt-$p" "$(tolerance $p)" --precision $p --arch opt --tied
    forward "opt-350m-$p" "$(tolerance $p)" --precision $p --arch opt --norm-after --width 40
    forward "bloom-$p" "$(tolerance $p)" --precision $p --arch bloom --tied
    forward "bloom-6-heads-$p" "$(tolerance $p)" --precision $p --arch bloom --heads 6 --dim 96
done
forward "llama-bf16" 0.01 --precision bf16
forward "opt-350m-bf16" 0.01 --precision bf16 --arch opt --norm-after --width 40
for p in w4a8+asym w8a8+trip w4a4+trip+mixed+asym w4a8+trip-static+uniform w8a8+log2; do
    forward "llama-$p" 0.03 --precision $p
done
forward "opt-w4a4+trip+softmax" 0.03 --precision w4a4+trip+softmax --arch opt --group 64
forward "bloom-w4a8+trip-static+asym" 0.03 --precision w4a8+trip-static+asym --arch bloom --group 0
for p in fp16+kv8 w4a8+prune0.2+low0.5+kv8+asym+mixed; do
    forward "llama-$p" 0.03 --precision $p --layers 3
done
forward "opt-350m-w8a8+low0.5+prune-paper0.4" 0.03 --precision w8a8+low0.5+prune-paper0.4 --layers 3 --arch opt --norm-after --width 40
forward "bloom-w4a8+prune0.2+low0.5" 0.03 --precision w4a8+prune0.2+low0.5 --layers 3 --arch bloom
forward "bloom-w8a8+prune-paper0.3+kv8" 0.03 --precision w8a8+prune-paper0.3+kv8 --layers 3 --arch bloom
pack pack "$work/long.gguf" --precision w8a8+prune0.2+low0.5+kv8 --context 320 --dim 32 --heads 4 --kv 2 --ffn 48
"$x64" logits --model "$work/long.gguf" --tokens "$work/t.aqtk" --count 290 --out "$work/long.logits" --threads 2
check "logits of 290 tokens, more than a tile of an int8 cache" python3 "$here/reference.py" "$work/long.gguf" "$work/t.aqtk" "$work/long.logits" 290 0.03
pack pack "$work/mamba.gguf" --arch mamba
exits "an architecture that is not supported" 1 "$x64" logits --model "$work/mamba.gguf" --tokens "$work/t.aqtk" --count 2 --out "$work/x"
check "and says which are" grep -q 'llama, opt, bloom' "$work/err"
pack pack "$work/paper-350m.gguf" --precision w8a8+prune-paper0.4 --arch opt --context 400
exits "the paper's pruning of a prompt longer than a chunk" 0 "$x64" logits --model "$work/paper-350m.gguf" --tokens "$work/t.aqtk" --count 300 --out "$work/x"
exits "more tokens than learned positions" 1 "$x64" logits --model "$work/opt-fp16.gguf" --tokens "$work/t.aqtk" --count 65 --out "$work/x"
for g in 64 128 0; do
    pack pack "$work/g$g.gguf" --precision w4a8 --group $g --kv 2 --heads 4 --dim 96 --ffn 200 --vocab 96
    rm -f "$work/g.logits"
    "$x64" logits --model "$work/g$g.gguf" --tokens "$work/t.aqtk" --count 8 --out "$work/g.logits"
    check "logits of w4a8 in groups of $g" python3 "$here/reference.py" "$work/g$g.gguf" "$work/t.aqtk" "$work/g.logits" 8 0.03
done
