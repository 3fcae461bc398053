# shellcheck shell=sh disable=SC2034,SC2154 # variables are shared with run.sh and its other parts
# Damaged and hostile files, and the fuzz corpora. Read by run.sh.
# ---- damaged input ----
if [ -n "$san" ]; then
    check "damaged fp16 packs" python3 "$here/corrupt.py" "$san" "$work/fp16.gguf" "$work/t.aqtk" "$work" --count 90
    check "damaged w4a8 packs" python3 "$here/corrupt.py" "$san" "$work/w4a8.gguf" "$work/t.aqtk" "$work" --count 60 --seed 2
    check "damaged OPT packs" python3 "$here/corrupt.py" "$san" "$work/opt-350m-w4a8.gguf" "$work/t.aqtk" "$work" --count 60 --seed 3
    check "damaged BLOOM packs" python3 "$here/corrupt.py" "$san" "$work/bloom-fp16.gguf" "$work/t.aqtk" "$work" --count 60 --seed 4
    check "packs with impossible options" python3 "$here/hostile.py" "$san" "$work/t.aqtk" "$work"
    head -c 100 "$work/t.aqtk" > "$work/short.aqtk"
    exits "a token file that was cut off" 1 "$san" logits --model "$work/fp16.gguf" --tokens "$work/short.aqtk" --count 2 --out "$work/x"
fi
engine=${san:-$x64}
# The fuzz targets over their corpora, which hold what fuzzing once found (fuzz/build.sh without --replay fuzzes).
if [ -n "$san" ] && replay=$("$native/fuzz/build.sh" --replay 2> "$work/build"); then
    for t in pack plan tokens board; do
        check "corpus of the $t fuzz target" env TMPDIR="$work" "$replay/fuzz-$t" "$native/fuzz/corpus/$t"
    done
elif [ -n "$san" ]; then bad "build fuzz targets"; tail -n 15 "$work/build" | sed 's/^/    /'
fi
