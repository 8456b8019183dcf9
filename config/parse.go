package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// source is where files and the environment come from, so that a test or a
// fuzz target can do without them.
type source interface {
	// read returns at most limit+1 bytes of the file.
	read(path string, limit int) ([]byte, error)
	// glob lists the files that match, sorted.
	glob(pattern string) ([]string, error)
	getenv(name string) string
}

type osSource struct{}

func (osSource) read(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)+1))
}

func (osSource) glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }
func (osSource) getenv(name string) string             { return os.Getenv(name) }

// parser turns files into sections. It belongs to one Load and one goroutine.
type parser struct {
	src      source
	root     *section
	stack    []*section // the open blocks; the first is root
	files    []string   // the files being read, each included by the one before
	order    map[string]int
	total    int // bytes of files and of expanded values so far
	problems []Problem
	warnings []Warning
}

func newParser(src source) *parser {
	root := newSection("", "", Pos{})
	return &parser{src: src, root: root, stack: []*section{root}, order: map[string]int{}}
}

func (p *parser) errorf(pos Pos, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, problemf(pos, format, args...))
	}
}

func (p *parser) warnf(pos Pos, format string, args ...any) {
	if len(p.warnings) < maxProblems {
		p.warnings = append(p.warnings, problemf(pos, format, args...))
	}
}

func (p *parser) top() *section { return p.stack[len(p.stack)-1] }

// file reads one file into the block that is open. from is where it was named.
func (p *parser) file(path string, from Pos) {
	text, err := p.load(path, maxFile)
	if err != nil {
		p.errorf(from, "%v", err)
		return
	}
	if _, seen := p.order[path]; !seen {
		p.order[path] = len(p.order)
	}
	p.files = append(p.files, path)
	defer func() { p.files = p.files[:len(p.files)-1] }()
	p.text(path, text)
}

func (p *parser) load(path string, limit int) (string, error) {
	text, err := p.src.read(path, limit)
	if err != nil {
		return "", readError(path, err)
	}
	if len(text) > limit {
		return "", fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	if p.total += len(text); p.total > maxTotal {
		return "", fmt.Errorf("%s: the files together are larger than %d MiB", path, maxTotal>>20)
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return "", fmt.Errorf("%s:%d: a NUL byte cannot stand in a configuration", path, 1+bytes.Count(text[:i], []byte("\n")))
	}
	return string(text), nil
}

func readError(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}

// text parses the lines of a file. Blocks that it opens must end in it.
func (p *parser) text(path, text string) {
	depth := len(p.stack)
	text = strings.TrimPrefix(text, "\ufeff")
	for n := 1; text != "" && len(p.problems) < maxProblems; {
		pos := Pos{File: path, Line: n}
		var logical string
		var used int
		logical, text, used = p.logicalLine(text, pos)
		n += used
		p.line(logical, pos, depth)
	}
	for len(p.stack) > depth {
		open := p.top()
		p.errorf(open.pos, `the block "%s {" that begins here has no "}"`, open.title())
		p.stack = p.stack[:len(p.stack)-1]
	}
}

// logicalLine takes one line off text, with the lines that continue it, and
// says how many there were. A comment cannot be continued.
func (p *parser) logicalLine(text string, pos Pos) (logical, rest string, lines int) {
	var joined []string
	for {
		var physical string
		physical, text, _ = strings.Cut(text, "\n")
		lines++
		s, ambiguous := stripComment(physical)
		if ambiguous {
			p.warnf(Pos{pos.File, pos.Line + lines - 1}, `"#" without a space before it begins a comment`)
		}
		more := strings.HasSuffix(s, `\`) && text != ""
		if !more && joined == nil {
			return s, text, lines
		}
		joined = append(joined, strings.Trim(strings.TrimSuffix(s, `\`), blanks))
		if !more {
			return strings.Join(joined, " "), text, lines
		}
	}
}

// line takes in one logical line; base is the number of blocks that were open
// when the file began.
func (p *parser) line(s string, pos Pos, base int) {
	l, err := lexLine(s)
	if err != nil {
		p.errorf(pos, "%v", err)
		return
	}
	switch l.kind {
	case lineSet:
		p.set(l.key, l.value, pos)
	case lineOpen:
		p.openBlock(l.key, l.value, pos)
	case lineClose:
		if len(p.stack) <= base {
			p.errorf(pos, `"}" without a block that it could end`)
			return
		}
		p.stack = p.stack[:len(p.stack)-1]
	case lineInclude:
		p.include(l.value, pos, false)
	case lineIncludeTry:
		p.include(l.value, pos, true)
	}
}

func (p *parser) include(pattern string, pos Pos, try bool) {
	pattern = relativeTo(pos.File, pattern)
	paths, err := p.src.glob(pattern)
	switch {
	case err != nil:
		p.errorf(pos, "!include %s: %v", pattern, err)
	case len(paths) == 0 && !try:
		p.errorf(pos, "!include %s: no such file", pattern)
	}
	for _, path := range paths {
		p.includeFile(path, pos)
	}
}

func (p *parser) includeFile(path string, pos Pos) {
	for _, open := range p.files {
		if open == path {
			p.errorf(pos, "!include %s: this file is being read already", path)
			return
		}
	}
	if len(p.files) >= maxDepth {
		p.errorf(pos, "!include %s: files include one another more than %d deep", path, maxDepth)
		return
	}
	p.file(path, pos)
}

// relativeTo is path seen from the file that names it.
func relativeTo(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

func (p *parser) openBlock(kind, name string, pos Pos) {
	parent := p.top()
	kid := newSection(kind, name, pos)
	switch text, ok := p.judgeBlock(parent, kind, name); {
	case len(p.stack) > maxBlocks:
		p.errorf(pos, "blocks stand inside one another more than %d deep", maxBlocks)
	case len(parent.kids) >= maxKids:
		p.errorf(pos, "more than %d blocks", maxKids)
	case !ok:
		p.errorf(pos, "%s", text)
	default:
		kid = parent.open(kind, name, pos)
	}
	p.stack = append(p.stack, kid)
}

// set takes in "key = raw".
func (p *parser) set(key, raw string, pos Pos) {
	target, key, ok := p.target(key)
	if !ok {
		p.errorf(pos, "%s: no block of that name stands above", key)
		return
	}
	v, err := p.value(raw, pos)
	if err != nil {
		p.errorf(pos, "%s: %v", key, err)
		return
	}
	if err := p.judge(target, key, v.text); err != nil {
		p.errorf(pos, "%v", err)
		return
	}
	p.warnShadowed(target, key, pos)
	target.vals[key] = v
}

// warnShadowed warns of a value that comes too late: a protocol block above has
// its own, made of what was set before.
func (p *parser) warnShadowed(target *section, key string, pos Pos) {
	if target != p.root {
		return
	}
	if block := p.root.child("protocol", "imap"); block != nil {
		if v, ok := block.vals[key]; ok {
			p.warnf(pos, "%s: the value in protocol imap, at %s, stays as it is", key, v.pos)
		}
	}
}

// target is the section a key belongs to: plugin/acl at the top is acl of the
// plugin block, and namespace/NAME/KEY a key of a namespace that is there.
func (p *parser) target(key string) (*section, string, bool) {
	s := p.top()
	parts := strings.Split(key, "/")
	if len(parts) == 1 || s != p.root {
		return s, key, true
	}
	if parts[0] == "plugin" && len(parts) == 2 {
		return s.open("plugin", "", Pos{}), parts[1], true
	}
	if len(parts) == 3 {
		if kid := s.child(parts[0], parts[1]); kid != nil {
			return kid, parts[2], true
		}
	}
	return s, key, false
}

// value is what the text after "=" means: a quoted text, the content of a file,
// or text with $names.
func (p *parser) value(raw string, pos Pos) (value, error) {
	v := value{text: raw, pos: pos}
	var err error
	switch {
	case raw == "":
	case raw[0] == '<':
		v.file = relativeTo(pos.File, strings.TrimLeft(raw[1:], blanks))
		v.text, err = p.load(v.file, maxValue)
		v.text = strings.TrimSuffix(strings.TrimSuffix(v.text, "\n"), "\r")
	case raw[0] == '"' || raw[0] == '\'':
		v.text = unquote(raw)
	case strings.IndexByte(raw, '$') >= 0:
		v.text, err = p.expandNames(raw)
	}
	return v, err
}

// expandNames replaces the words that begin with $ by the values of the
// settings they name.
func (p *parser) expandNames(raw string) (string, error) {
	words := strings.Split(raw, " ")
	size := 0
	for i, word := range words {
		if strings.HasPrefix(word, "$") {
			text, ok := p.named(word[1:])
			if !ok {
				return "", fmt.Errorf("%s is not defined", word)
			}
			words[i] = text
		}
		if size += len(words[i]); size > maxValue {
			return "", fmt.Errorf("the value is larger than %d KiB", maxValue>>10)
		}
	}
	text := strings.Trim(strings.Join(words, " "), blanks)
	if p.total += len(text); p.total > maxTotal {
		return "", fmt.Errorf("the values together are larger than %d MiB", maxTotal>>20)
	}
	if strings.ContainsAny(text, "\n\r\x00") {
		return "", errors.New("the value of a $name has a line break")
	}
	return text, nil
}

// named is the value that $name stands for: the latest above it, in the open
// protocol block first, or the default.
func (p *parser) named(name string) (string, bool) {
	if env, ok := strings.CutPrefix(name, "ENV:"); ok {
		return p.src.getenv(env), true
	}
	if key, ok := strings.CutPrefix(name, "plugin/"); ok {
		return p.namedPlugin(key)
	}
	for i := len(p.stack) - 1; i >= 0; i-- {
		if s := p.stack[i]; s == p.root || s.kind == "protocol" {
			if v, ok := s.vals[name]; ok {
				return v.text, true
			}
		}
	}
	if row := lookup("", name); row != nil {
		return row.Default, true
	}
	return "", false
}

func (p *parser) namedPlugin(key string) (string, bool) {
	plugin := p.root.child("plugin", "")
	if plugin == nil {
		return "", false
	}
	v, ok := plugin.vals[key]
	return v.text, ok
}
