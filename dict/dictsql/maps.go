package dictsql

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/dict"
)

// Map says which keys are rows of a table.
type Map struct {
	Pattern    string // such as shared/shared-boxes/user/$to/$from
	Table      string
	ValueField string // the column of values
	ValueType  Type
	Fields     []Field // one for each variable of the pattern
}

// Field is a column with a part of the key.
type Field struct {
	Column   string
	Variable string // of the pattern, without $
	Type     Type
}

// Type is how the text of a column is stored.
type Type string

// The types that Dovecot has for keys and values.
const (
	String  Type = "string" // also ""
	Int     Type = "int"
	Uint    Type = "uint"
	Hexblob Type = "hexblob" // bytes, of which the text is hexadecimal
)

// table is a Map that is ready for use.
type table struct {
	name      string
	value     column
	fields    []column // in the order of the pattern
	tokens    []token
	selection string // SELECT ... FROM ...
}

// token is a piece of a pattern: a text, or a variable, which stands for what is
// before the next slash, and at the end for all that is left.
type token struct {
	text     string
	variable bool
}

type column struct {
	column string
	kind   Type
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

func compile(maps []Map) ([]*table, error) {
	var all []*table
	for _, m := range maps {
		t, err := m.compile()
		if err != nil {
			return nil, fmt.Errorf("map of %q: %w", m.Pattern, err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no map")
	}
	return all, nil
}

func (m Map) compile() (*table, error) {
	t := &table{name: m.Table, value: column{m.ValueField, m.ValueType}}
	if !strings.HasPrefix(m.Pattern, dict.Root) {
		return nil, fmt.Errorf("the pattern does not begin with %s", dict.Root)
	}
	if err := t.split(m); err != nil {
		return nil, err
	}
	if len(t.fields) != len(m.Fields) {
		return nil, errors.New("a field has a variable that is not in the pattern")
	}
	columns := []string{t.value.column}
	for _, f := range t.fields {
		columns = append(columns, f.column)
	}
	for _, name := range append([]string{t.name}, columns...) {
		if !identifier.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a table or column", name)
		}
	}
	for _, c := range append([]column{t.value}, t.fields...) {
		switch c.kind {
		case "", String, Int, Uint, Hexblob:
		default:
			return nil, fmt.Errorf("%q is not a type: string, int, uint and hexblob are", c.kind)
		}
	}
	t.selection = "SELECT " + strings.Join(columns, ", ") + " FROM " + t.name
	return t, nil
}

// split makes tokens of the pattern: $name or ${name} is a variable.
func (t *table) split(m Map) error {
	for rest := m.Pattern; rest != ""; {
		text, after, found := strings.Cut(rest, "$")
		if text != "" {
			if n := len(t.tokens); n > 0 && text[0] != '/' {
				return errors.New("a variable of the pattern does not end at a slash")
			}
			t.tokens = append(t.tokens, token{text: text})
		}
		if !found {
			return nil
		}
		var name string
		if name, rest = variable(after); name == "" {
			return errors.New("a $ of the pattern has no name behind it")
		}
		field, ok := m.field(name)
		if !ok {
			return fmt.Errorf("no field has the variable $%s", name)
		}
		if n := len(t.tokens); n > 0 && t.tokens[n-1].variable {
			return errors.New("two variables of the pattern stand side by side")
		}
		t.tokens = append(t.tokens, token{variable: true})
		t.fields = append(t.fields, field)
	}
	return nil
}

func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		name, rest, _ = strings.Cut(inner, "}")
		return name, rest
	}
	n := strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:]
}

func (m Map) field(variable string) (column, bool) {
	for _, f := range m.Fields {
		if f.Variable == variable {
			return column{f.Column, f.Type}, true
		}
	}
	return column{}, false
}

// match is whether a key is in the table, and the values of its columns.
func (t *table) match(key string) (values []string, ok bool) {
	for i, tok := range t.tokens {
		if !tok.variable {
			if key, ok = strings.CutPrefix(key, tok.text); !ok {
				return nil, false
			}
			continue
		}
		end := len(key)
		if i+1 < len(t.tokens) {
			if end = strings.IndexByte(key, '/'); end < 0 {
				return nil, false
			}
		}
		values, key = append(values, key[:end]), key[end:]
	}
	return values, key == ""
}

// begin is whether keys in the table can begin with prefix, which ends in a slash,
// and which values of the first columns they have then. rest is what the next
// column begins with.
func (t *table) begin(prefix string) (values []string, rest string, ok bool) {
	for i, tok := range t.tokens {
		switch {
		case prefix == "":
			return values, "", true
		case !tok.variable:
			if strings.HasPrefix(tok.text, prefix) {
				return values, "", true
			}
			if prefix, ok = strings.CutPrefix(prefix, tok.text); !ok {
				return nil, "", false
			}
		case i+1 == len(t.tokens):
			return values, prefix, true
		default:
			end := strings.IndexByte(prefix, '/')
			values, prefix = append(values, prefix[:end]), prefix[end:]
		}
	}
	return nil, "", false // a whole key, and a slash
}

// key is the key of a row.
func (t *table) key(values []string) string {
	var b strings.Builder
	n := 0
	for _, tok := range t.tokens {
		if tok.variable {
			b.WriteString(values[n])
			n++
		} else {
			b.WriteString(tok.text)
		}
	}
	return b.String()
}

// where is the condition for the rows whose first columns have these values.
func (t *table) where(e *engine, values []string) (string, []any, error) {
	var parts []string
	var args []any
	for i, v := range values {
		arg, err := t.fields[i].bind(v)
		if err != nil {
			return "", nil, err
		}
		args = append(args, arg)
		parts = append(parts, t.fields[i].column+" = "+e.mark(len(args)))
	}
	if len(parts) == 0 {
		return "", nil, nil
	}
	return " WHERE " + strings.Join(parts, " AND "), args, nil
}

// below is where, for rows whose next column begins with rest as well.
func (t *table) below(e *engine, values []string, rest string) (string, []any, error) {
	where, args, err := t.where(e, values)
	if err != nil || rest == "" || t.fields[len(values)].kind != "" && t.fields[len(values)].kind != String {
		return where, args, err
	}
	and := " AND "
	if where == "" {
		and = " WHERE "
	}
	args = append(args, strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(rest)+"%")
	return where + and + t.fields[len(values)].column + " LIKE " + e.mark(len(args)) + " ESCAPE '!'", args, nil
}

// insertion is the statement that adds a row: the value, then the key's columns.
func (t *table) insertion(e *engine) string {
	columns, marks := []string{t.value.column}, []string{e.mark(1)}
	for i, f := range t.fields {
		columns, marks = append(columns, f.column), append(marks, e.mark(i+2))
	}
	return "INSERT INTO " + t.name + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
}

// digest is the query for the number of rows, and a sum that changes with them.
func (t *table) digest(e *engine) string {
	columns := []string{t.value.column}
	for _, f := range t.fields {
		columns = append(columns, f.column)
	}
	return "SELECT COUNT(*), " + fmt.Sprintf(e.sum, strings.Join(columns, ", ")) + " FROM " + t.name
}

// bind is a text as the database is given it.
func (c column) bind(text string) (any, error) {
	var v any
	var err error
	switch c.kind {
	case Int, Uint:
		var n int64
		if n, err = strconv.ParseInt(text, 10, 64); err == nil && (strconv.FormatInt(n, 10) != text || n < 0 && c.kind == Uint) {
			err = strconv.ErrSyntax
		}
		v = n
	case Hexblob:
		v, err = hex.DecodeString(text)
	default:
		return text, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %.100q can't be in column %s of type %s", dict.ErrInvalid, text, c.column, c.kind)
	}
	return v, nil
}

// text is the reverse.
func (c column) text(b []byte) string {
	if c.kind == Hexblob {
		return hex.EncodeToString(b)
	}
	return string(b)
}
