package admin

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Table is a result for people: rows below a head, or lines without one.
type Table struct {
	Head []string
	Rows [][]string
	Foot []string // lines of text below
}

// WriteTo prints the table. What can't be printed in a cell is replaced: names may
// come from anywhere.
func (t Table) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(t.Head) > 0 {
		fmt.Fprintln(tw, strings.Join(t.Head, "\t"))
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	_ = tw.Flush() // to memory
	text := trimLines(b.String())
	for _, line := range t.Foot {
		text += clean(line) + "\n"
	}
	n, err := io.WriteString(w, text)
	return int64(n), err
}

// trimLines takes off the spaces that fill up last columns.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func clean(cell string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, cell)
}

// when is a moment for people; empty if there is none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// dash stands where there is nothing, in a column that is not the last.
func dash(text string) string {
	return cmp.Or(text, "-")
}

// count is a number of things: "1 session", "2 sessions".
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
