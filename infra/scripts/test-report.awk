# Reads an xunit v3 XML report (one test a record), prints one line about the project, and appends to the files
# `counts` (project, passed, failed, skipped), `failures` and `skips`.
# Variables: project, code (exit code of the test program), seconds, log_file, counts, failures, skips.

BEGIN { RS = "<test id=" }

function attribute(text, name, at, rest) {
  at = index(text, " " name "=\"")
  if (at == 0) return ""
  rest = substr(text, at + length(name) + 3)
  return plain(substr(rest, 1, index(rest, "\"") - 1))
}

function plain(text) {
  gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&apos;/, "'", text)
  gsub(/&#xA;/, " ", text); gsub(/&amp;/, "\\&", text); gsub(/\\"/, "\"", text) # xunit escapes quotes twice
  return text
}

# The text of <name>...</name>, with or without a CDATA section.
function element(text, name, at, rest) {
  at = index(text, "<" name ">")
  if (at == 0) return ""
  rest = substr(text, at + length(name) + 2)
  rest = substr(rest, 1, index(rest, "</" name ">") - 1)
  if (index(rest, "<![CDATA[") == 1) {
    rest = substr(rest, 10, length(rest) - 12)
    gsub(/\\"/, "\"", rest)
    return rest
  }
  return plain(rest)
}

function indent(text) { gsub(/\r/, "", text); gsub(/\n/, "\n      ", text); return text }

# At most `lines` lines of a text.
function head(text, lines, parts, n, i, out) {
  n = split(text, parts, "\n")
  for (i = 1; i <= n && i <= lines; i++) out = out (i > 1 ? "\n" : "") parts[i]
  return out
}

# A stack trace without what the runtime and the test libraries do.
function trace(text, parts, n, i, out) {
  n = split(text, parts, "\n")
  for (i = 1; i <= n; i++)
    if (parts[i] !~ /^ *at (System|Xunit|Shouldly|Microsoft)\./) out = out (out == "" ? "" : "\n") parts[i]
  return head(out, 6)
}

function short(name) { sub("^" project "\\.", "", name); return name }

NR > 1 {
  result = attribute($0, "result")
  name = short(attribute($0, "name"))
  if (result == "Pass") passed++
  else if (result == "Skip") {
    skipped++
    printf "  %s: %s\n    %s\n", project, name, indent(element($0, "reason")) >> skips
  } else if (result == "Fail") {
    failed++
    printf "%s  FAILED\n  %s\n      %s\n", project, name, indent(head(element($0, "message"), 40)) >> failures
    printf "      %s\n", indent(trace(element($0, "stack-trace"))) >> failures
  }
}

# Errors outside of a test (fixtures, clean-up) stand before or after the tests.
{
  text = $0
  while ((at = index(text, "<error ")) > 0) {
    text = substr(text, at + 1)
    failed++
    printf "%s  FAILED outside of a test\n  %s: %s\n      %s\n", project, attribute(text, "type"), attribute(text, "name"),
      indent(head(element(text, "message"), 40)) >> failures
  }
}

END {
  # A program that ends badly without saying which test failed has failed itself.
  if (code + 0 != 0 && failed + 0 == 0) {
    failed = 1
    why = code == 124 || code == 137 ? "ran out of time" : "ended with exit code " code
    printf "%s  FAILED\n  the test program %s; the end of %s:\n", project, why, log_file >> failures
    n = 0
    RS = "\n"
    while ((getline line < log_file) > 0) tail[n++ % 25] = line
    for (i = (n > 25 ? n - 25 : 0); i < n; i++) printf "      %s\n", tail[i % 25] >> failures
  }
  printf "%s\t%d\t%d\t%d\n", project, passed, failed, skipped >> counts
  printf "%-36s %5d passed %4d failed %4d skipped  %4d s\n", project, passed, failed, skipped, seconds
}
