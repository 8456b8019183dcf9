package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// maxNested is how deep conditions may stand in conditions.
const maxNested = 10

// evaluateIf is %{if;a;op;b;yes;no}. Its parts may have variables of their own;
// a backslash before ; or : in them makes it a part of the text. What has an
// unescaped colon ends there, as in Dovecot.
func evaluateIf(args string, value func(string) (string, bool), depth int) (string, error) {
	if depth >= maxNested {
		return "", errors.New("%{if} is nested too deeply")
	}
	parts := splitIf(args)
	if len(parts) < 4 || len(parts) > 5 {
		return "", errors.New("%{if} needs two values with an operator between them, and one or two results")
	}
	for i := range parts {
		if i == 1 {
			continue
		}
		var err error
		if parts[i], err = expandDepth(parts[i], value, depth+1); err != nil {
			return "", err
		}
	}
	ok, err := compare(parts[0], parts[1], parts[2])
	switch {
	case err != nil:
		return "", err
	case ok:
		return parts[3], nil
	case len(parts) == 5:
		return parts[4], nil
	}
	return "", nil
}

// splitIf splits at semicolons that are neither escaped nor inside braces.
func splitIf(args string) []string {
	var parts []string
	var part strings.Builder
	depth := 0
	for i := 0; i < len(args); i++ {
		switch c := args[i]; {
		case c == '\\' && i+1 < len(args) && depth == 0 && strings.IndexByte(`;:\%`, args[i+1]) >= 0:
			i++
			if args[i] == '%' {
				part.WriteByte('%') // %% is a percent sign
			}
			part.WriteByte(args[i])
			continue
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == ':' && depth == 0:
			return append(parts, part.String())
		case c == ';' && depth == 0:
			parts = append(parts, part.String())
			part.Reset()
			continue
		}
		part.WriteByte(args[i])
	}
	return append(parts, part.String())
}

// compare is one comparison: of numbers, of texts, with a pattern or an expression.
func compare(a, op, b string) (bool, error) {
	switch op {
	case "==", "!=", "<", "<=", ">", ">=":
		return compareNumbers(a, op, b)
	case "eq":
		return a == b, nil
	case "ne":
		return a != b, nil
	case "lt":
		return a < b, nil
	case "le":
		return a <= b, nil
	case "gt":
		return a > b, nil
	case "ge":
		return a >= b, nil
	case "*", "!*":
		return wildcards(b, a) == (op == "*"), nil
	case "~", "!~":
		re, err := regexp.Compile(b)
		if err != nil {
			return false, fmt.Errorf("%%{if}: expression %q", short(b))
		}
		return re.MatchString(a) == (op == "~"), nil
	}
	return false, fmt.Errorf("%%{if}: unknown operator %q", short(op))
}

// wildcards says whether text matches a pattern with * and ?.
func wildcards(pattern, text string) bool {
	noSlash := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(strings.NewReplacer("/", "\x00", "[", `\[`, `\`, `\\`).Replace(pattern), noSlash.Replace(text))
	return ok && err == nil
}

func compareNumbers(a, op, b string) (bool, error) {
	x, err := strconv.ParseInt(a, 10, 64)
	if err != nil {
		return false, fmt.Errorf("%%{if}: %q is not a number", short(a))
	}
	y, err := strconv.ParseInt(b, 10, 64)
	if err != nil {
		return false, fmt.Errorf("%%{if}: %q is not a number", short(b))
	}
	switch op {
	case "==":
		return x == y, nil
	case "!=":
		return x != y, nil
	case "<":
		return x < y, nil
	case "<=":
		return x <= y, nil
	case ">":
		return x > y, nil
	}
	return x >= y, nil
}
