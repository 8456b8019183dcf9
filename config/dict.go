package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Dict is where shared keys and values are kept. The zero Dict is none.
type Dict struct {
	Driver string // file, fs, redis, etcd, pgsql, mysql or sqlite; proxy while it is not resolved
	Path   string // of file:
	Name   string // in the block dict, if it is from there
	URI    string // with its driver; it may hold a password
	SQL    *SQLDict

	Endpoints []string // of etcd
	Prefix    string
}

// SQLDict is a file about a dictionary in a database, as Dovecot's SQL dicts have it.
type SQLDict struct {
	File    string
	Connect string
	Maps    []DictMap
}

// DictMap says which keys are rows of a table.
type DictMap struct {
	Pattern, Table            string
	ValueField, ValueType     string
	Columns, Variables, Kinds []string // of the fields, side by side
}

// String is the dictionary without its password.
func (d Dict) String() string {
	return dictPassword.ReplaceAllString(d.URI, "${1}password=...")
}

// dictAddress is what no other secret looks like.
var dictAddress = regexp.MustCompile(`^(file|fs|redis|etcd|proxy|pgsql|mysql|sqlite):`)

var dictPassword = regexp.MustCompile(`(^|:)password=[^:]*`)

// parseDict reads a dictionary's address. That of a block is resolved later.
func parseDict(text string) (Dict, error) {
	if text == "" {
		return Dict{}, nil
	}
	driver, args, _ := strings.Cut(text, ":")
	d := Dict{Driver: driver, URI: text}
	switch driver {
	case "file":
		return d, d.parseFile(args)
	case "fs":
		fs, options, _ := strings.Cut(args, ":")
		if fs != "posix" {
			return d, fmt.Errorf("fs:%s: of file systems only posix is known: fs:posix:prefix=DIRECTORY", short(fs))
		}
		return d, checkDictArgs(options, "prefix", "mode", "dirs")
	case "redis":
		return d, checkDictArgs(args, "host", "port", "path", "prefix", "db", "user", "password", "timeout_msecs")
	case "etcd":
		return d, d.parseEtcd(args)
	case "pgsql", "mysql", "sqlite":
		if !strings.HasPrefix(args, "/") {
			return d, fmt.Errorf("%s: %q is not the absolute path of a file", driver, short(args))
		}
		d.Path = args
		return d, nil
	case "proxy":
		d.Name = args[strings.LastIndexByte(args, ':')+1:]
		if d.Name == "" {
			return d, fmt.Errorf("proxy: the name of a dictionary is missing: proxy::NAME")
		}
		return d, nil
	}
	return d, fmt.Errorf("%q is no kind of dictionary: file:, fs:posix:, proxy::NAME, redis:, etcd: and, in the block dict, pgsql:, mysql: and sqlite: are", short(driver))
}

func (d *Dict) parseFile(args string) error {
	parts := splitColons(args)
	if !strings.HasPrefix(parts[0], "/") && !strings.HasPrefix(parts[0], "~/") && !strings.HasPrefix(parts[0], "%") {
		return fmt.Errorf("%q is not an absolute path", short(parts[0]))
	}
	for _, opt := range parts[1:] {
		switch opt {
		case "lock=fcntl", "lock=flock", "lock=dotlock":
		default:
			return fmt.Errorf("the option %q is not known: lock=fcntl, flock or dotlock", short(opt))
		}
	}
	d.Path = parts[0]
	return nil
}

func checkDictArgs(args string, known ...string) error {
	for _, arg := range strings.Split(args, ":") {
		name, _, _ := strings.Cut(arg, "=")
		if strings.ContainsAny(arg, "[]") || name == "" { // an IPv6 address has colons
			continue
		}
		if !slices.Contains(known, name) && !strings.Contains(args, "[") {
			return fmt.Errorf("the option %q is not known: %s are", short(name), strings.Join(known, ", "))
		}
	}
	return nil
}

// parseEtcd reads //HOST[:PORT][,HOST[:PORT]...][/PREFIX], or nothing: the cluster's.
func (d *Dict) parseEtcd(args string) error {
	if args == "" {
		return nil
	}
	c := Cluster{Coordinator: d.URI}
	if err := c.parse(nil); err != nil {
		return err
	}
	d.Endpoints, d.Prefix = c.Endpoints, c.Prefix
	return nil
}

// Dict reads the address of a dictionary as acl_shared_dict has it; proxy::NAME is
// one of the block dict, whose file is read.
func (s *Settings) Dict(uri string) (Dict, error) {
	p := newParser(osSource{})
	d, err := parseDict(uri)
	if err == nil {
		d = p.resolveDict(s, d, Pos{}, "")
	}
	if len(p.problems) > 0 {
		return Dict{}, Errors(p.problems)
	}
	return d, err
}

// finishDict finds the dictionary of shares: that of a block, or the coordinator's.
func (p *parser) finishDict(s *Settings) {
	d := &s.ACL.SharedDict
	if d.Driver == "" && s.ACL.Enabled && s.Cluster.Backend && s.Cluster.Kind != NoCoordinator {
		*d = Dict{Driver: "etcd", URI: "etcd:"}
	}
	*d = p.resolveDict(s, *d, s.Where("plugin/acl_shared_dict"), "plugin/acl_shared_dict: ")
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		ns.SharedDict = p.resolveDict(s, ns.SharedDict, ns.Pos, ns.title()+": acl_shared_dict: ")
	}
	if d.SQL == nil {
		return
	}
	for _, key := range sharedKeys {
		if !slices.ContainsFunc(d.SQL.Maps, func(m DictMap) bool { return m.has(key) }) {
			p.errorf(Pos{d.SQL.File, 1}, "no map has the key %s, which sharing needs; dict-sql.conf among the examples has maps for all", key)
		}
	}
}

// sharedKeys are one key of each kind that sharing has.
var sharedKeys = []string{
	"shared/shared-boxes/user/READER/OWNER", "shared/shared-boxes/group/GROUP/OWNER", "shared/shared-boxes/anyone/OWNER",
	"shared/roost/owner/OWNER", "shared/roost/box/OWNER/MAILBOX",
}

// resolveDict completes a dictionary that stands at pos in the setting that what names.
func (p *parser) resolveDict(s *Settings, d Dict, pos Pos, what string) Dict {
	if d.Driver == "proxy" {
		v, ok := s.root.dictNamed(d.Name)
		if !ok {
			p.errorf(pos, "%sthe block dict has no %q", what, short(d.Name))
			return d
		}
		named, err := parseDict(v.text)
		if err == nil && (named.Driver == "" || named.Driver == "proxy") {
			err = fmt.Errorf("%q is no dictionary itself", short(v.text))
		}
		if err != nil {
			p.errorf(v.pos, "dict: %s: %v", d.Name, err)
			return d
		}
		named.Name = d.Name
		d, pos = named, v.pos
	}
	switch d.Driver {
	case "pgsql", "mysql", "sqlite":
		d.SQL = p.sqlDict(d.Path, pos)
	case "etcd":
		if len(d.Endpoints) > 0 {
			break
		}
		if s.Cluster.Kind == NoCoordinator {
			p.errorf(pos, "%setcd: without a cluster it needs hosts: etcd://HOST[:PORT]", what)
		}
		// Beside the cluster's keys, which every node watches, not below them.
		d.Endpoints, d.Prefix = s.Cluster.Endpoints, strings.TrimSuffix(s.Cluster.Prefix, "/")+"-dict/"
	}
	return d
}

// dictNamed is a line of the block dict.
func (s *section) dictNamed(name string) (value, bool) {
	block := s.child("dict", "")
	if block == nil {
		return value{}, false
	}
	v, ok := block.vals[name]
	return v, ok
}

// sqlDict reads the file that says what is in which table.
func (p *parser) sqlDict(path string, from Pos) *SQLDict {
	text, err := p.load(path, maxFile)
	if err != nil {
		p.errorf(from, "dict: %v", err)
		return nil
	}
	if _, seen := p.order[path]; !seen {
		p.order[path] = len(p.order)
	}
	r := sqlDictReader{p: p, dict: &SQLDict{File: path}}
	for n := 1; text != "" && len(p.problems) < maxProblems; {
		pos := Pos{File: path, Line: n}
		logical, rest, used := p.logicalLine(text, pos)
		text, n = rest, n+used
		l, err := lexLine(logical)
		if err == nil {
			err = r.line(l, pos)
		}
		if err != nil {
			p.errorf(pos, "%v", err)
		}
	}
	switch {
	case len(r.blocks) > 0:
		p.errorf(r.opened, `the block that begins here has no "}"`)
	case r.dict.Connect == "":
		p.errorf(Pos{path, 1}, "connect is missing")
	case len(r.dict.Maps) == 0:
		p.errorf(Pos{path, 1}, "there is no map of shared keys")
	}
	return r.dict
}

// sqlDictReader is where in such a file we are.
type sqlDictReader struct {
	p      *parser
	dict   *SQLDict
	blocks []string // that are open: map, or map and fields
	opened Pos      // where the innermost begins
	m      DictMap
}

func (r *sqlDictReader) line(l line, pos Pos) error {
	in := strings.Join(r.blocks, " ")
	switch {
	case l.kind == lineEmpty:
	case l.kind == lineOpen && in == "" && l.key == "map":
		r.blocks, r.opened, r.m = []string{"map"}, pos, DictMap{}
	case l.kind == lineOpen && in == "map" && l.key == "fields":
		r.blocks, r.opened = append(r.blocks, "fields"), pos
	case l.kind == lineOpen:
		return fmt.Errorf("%s: no such block can stand here", l.key)
	case l.kind == lineClose && in == "":
		return fmt.Errorf(`"}" without a block that it could end`)
	case l.kind == lineClose:
		r.blocks = r.blocks[:len(r.blocks)-1]
		if len(r.blocks) == 0 {
			return r.endMap()
		}
	case l.kind != lineSet:
		return fmt.Errorf("files can't be included here")
	case in == "":
		if l.key != "connect" {
			return fmt.Errorf("%s: there is no such setting: connect and the block map are", l.key)
		}
		r.dict.Connect = unquote(l.value)
	case in == "map":
		return r.setMap(l.key, unquote(l.value))
	default:
		return r.addField(l.key, unquote(l.value))
	}
	return nil
}

func (r *sqlDictReader) setMap(key, text string) error {
	switch key {
	case "pattern":
		r.m.Pattern = text
	case "table":
		r.m.Table = text
	case "value_field":
		r.m.ValueField = text
	case "value_type":
		r.m.ValueType = text
	case "value_hexblob":
		if yes, err := parseBool(text); err != nil || yes {
			r.m.ValueType = "hexblob"
			return err
		}
	case "username_field": // of private keys
	case "expire_field":
		if text != "" {
			return fmt.Errorf("expire_field: refused: what is shared does not end by itself")
		}
	default:
		return fmt.Errorf("%s: there is no such setting in map: pattern, table, value_field, value_type, username_field and the block fields are", key)
	}
	return nil
}

var dictField = regexp.MustCompile(`^\$(?:\{(?:([a-z]+):)?([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))$`)

func (r *sqlDictReader) addField(column, text string) error {
	m := dictField.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%s: %q is not $NAME or ${TYPE:NAME}", column, short(text))
	}
	r.m.Columns = append(r.m.Columns, column)
	r.m.Kinds = append(r.m.Kinds, m[1])
	r.m.Variables = append(r.m.Variables, m[2]+m[3])
	return nil
}

// endMap takes a map in. Those of private keys are for other dictionaries.
func (r *sqlDictReader) endMap() error {
	m := r.m
	for name, text := range map[string]string{"pattern": m.Pattern, "table": m.Table, "value_field": m.ValueField} {
		if text == "" {
			return fmt.Errorf("the map that ends here has no %s", name)
		}
	}
	if strings.HasPrefix(m.Pattern, "priv/") {
		return nil
	}
	if !strings.HasPrefix(m.Pattern, "shared/") {
		return fmt.Errorf("pattern: %q does not begin with shared/", short(m.Pattern))
	}
	var used []string
	for _, v := range dictVariable.FindAllString(m.Pattern, -1) {
		used = append(used, strings.Trim(v, "${}"))
	}
	for _, v := range used {
		if !slices.Contains(m.Variables, v) {
			return fmt.Errorf("pattern: no field has the variable $%s", v)
		}
	}
	for i, v := range m.Variables {
		if !slices.Contains(used, v) {
			return fmt.Errorf("%s: the variable $%s is not in the pattern", m.Columns[i], v)
		}
	}
	r.dict.Maps = append(r.dict.Maps, m)
	return nil
}

var dictVariable = regexp.MustCompile(`\$\{?[A-Za-z0-9_]*\}?`)

// has says whether a key is a row of the map.
func (m DictMap) has(key string) bool {
	text := regexp.QuoteMeta(dictVariable.ReplaceAllString(m.Pattern, "\x00"))
	text = strings.ReplaceAll(text, "\x00", "[^/]*")
	if last, ok := strings.CutSuffix(text, "[^/]*"); ok {
		text = last + ".*"
	}
	whole, err := regexp.Compile("^" + text + "$")
	return err == nil && whole.MatchString(key)
}
