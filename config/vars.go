package config

import (
	"fmt"
	"strings"
)

// Vars are the values of % variables. A field that is not known is empty. In
// %{passdb:x} and %{userdb:x} the maps are asked; nil maps are empty.
type Vars struct {
	User         string // %u; %n is its part before the first @, %d the part after
	Home         string // %h
	UID, GID     string // %i, %{uid} and %{gid}
	Service      string // %s
	PID          string // %p
	LocalIP      string // %l
	RemoteIP     string // %r
	LocalPort    string // %a
	RemotePort   string // %b
	Mechanism    string // %m
	Password     string // %w
	Secured      string // %c: "secured" or empty
	MasterUser   string // %{master_user}: the authentication identity of a master login
	LoginUser    string // %{login_user}: the user a master login asks for
	AuthUser     string // %{auth_user}: who authenticated
	OriginalUser string // %{orig_user}: as the client sent it
	Session      string // %{session}
	LocalName    string // %{local_name}
	Hostname     string // %{hostname}

	Passdb, Userdb map[string]string
	Env            func(name string) string
}

// probeVars finds the errors of a template without a user.
var probeVars = Vars{User: "user@example.com", Home: "/home/user"}

// Expand replaces the % variables of template. %% is %, so that %%u becomes %u,
// the owner in a shared namespace. An unknown variable is an error.
//
// Between % and the variable may stand a substring, [-][offset.][0]width, and
// then modifiers: L lower case, U upper case, E quotes and backslashes escaped,
// X decimal to hex, R reversed, T trailing blanks cut, D as LDAP domain, M MD5
// in hex, N a 32-bit hash in hex, H an older one. Modifiers work from left to
// right, the substring last.
func Expand(template string, vars *Vars) (string, error) {
	return ExpandFunc(template, vars.lookup)
}

// checkVars says whether a template can be expanded at all.
func checkVars(template string) error {
	_, err := Expand(template, &probeVars)
	return err
}

// ExpandHome replaces ~ and ~/ at the beginning of a path by the home directory.
func ExpandHome(path, home string) string {
	if path == "~" {
		return home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return strings.TrimSuffix(home, "/") + "/" + rest
	}
	return path
}

// lookup is the value of a variable by its letter or its long name.
func (v *Vars) lookup(name string) (string, bool) {
	if i := strings.IndexByte(name, ':'); i > 0 {
		return v.lookupIn(name[:i], name[i+1:])
	}
	switch name {
	case "u", "user":
		return v.User, true
	case "n", "username":
		return localPart(v.User), true
	case "d", "domain":
		return domainPart(v.User), true
	case "h", "home":
		return v.Home, true
	case "i", "uid":
		return v.UID, true
	case "gid":
		return v.GID, true
	case "s", "service":
		return v.Service, true
	case "p", "pid":
		return v.PID, true
	case "l", "lip", "real_lip":
		return v.LocalIP, true
	case "r", "rip", "real_rip":
		return v.RemoteIP, true
	case "a", "lport", "real_lport":
		return v.LocalPort, true
	case "b", "rport", "real_rport":
		return v.RemotePort, true
	}
	return v.lookupAuth(name)
}

func (v *Vars) lookupAuth(name string) (string, bool) {
	switch name {
	case "m", "mech", "mechanism":
		return v.Mechanism, true
	case "w", "password":
		return v.Password, true
	case "c", "secured":
		return v.Secured, true
	case "session":
		return v.Session, true
	case "local_name":
		return v.LocalName, true
	case "hostname":
		return v.Hostname, true
	}
	for _, u := range [...]struct{ prefix, user string }{
		{"master_", v.MasterUser},
		{"login_", v.LoginUser},
		{"auth_", v.AuthUser},
		{"orig_", v.OriginalUser},
		{"original_", v.OriginalUser},
	} {
		part, ok := strings.CutPrefix(name, u.prefix)
		if !ok {
			continue
		}
		switch part {
		case "user":
			return u.user, true
		case "username":
			return localPart(u.user), true
		case "domain":
			return domainPart(u.user), true
		}
	}
	return "", false
}

// lookupIn is %{passdb:field:default}, %{userdb:field:default} and %{env:name}.
func (v *Vars) lookupIn(where, name string) (string, bool) {
	var fields map[string]string
	switch where {
	case "passdb":
		fields = v.Passdb
	case "userdb":
		fields = v.Userdb
	case "env":
		if v.Env == nil {
			return "", true
		}
		return v.Env(name), true
	default:
		return "", false
	}
	field, def, _ := strings.Cut(name, ":")
	if val, ok := fields[field]; ok {
		return val, true
	}
	return def, true
}

func localPart(user string) string {
	name, _, _ := strings.Cut(user, "@")
	return name
}

func domainPart(user string) string {
	_, domain, _ := strings.Cut(user, "@")
	return domain
}

const (
	maxExpanded  = 64 << 10 // bytes of an expanded template
	maxModifiers = 10       // modifiers of one variable
	maxWidth     = 4096     // width and offset of a substring
)

// ExpandFunc is Expand with variables of another kind, as imap_logout_format has
// them: value is asked with the letter or the long name.
func ExpandFunc(template string, value func(name string) (string, bool)) (string, error) {
	return expandDepth(template, value, 0)
}

// expandDepth is ExpandFunc within depth conditions.
func expandDepth(template string, value func(name string) (string, bool), depth int) (string, error) {
	if strings.IndexByte(template, '%') < 0 {
		return template, nil
	}
	var b strings.Builder
	rest := template
	for {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		var text string
		var err error
		text, rest, err = expandOne(rest[i+1:], value, depth)
		if err != nil {
			return "", err
		}
		if b.WriteString(text); b.Len() > maxExpanded {
			break
		}
	}
	if b.Len() > maxExpanded {
		return "", fmt.Errorf("the expanded value is larger than %d KiB", maxExpanded>>10)
	}
	return b.String(), nil
}

// expandOne expands the variable that s begins with, behind its %.
func expandOne(s string, value func(string) (string, bool), depth int) (text, rest string, err error) {
	if strings.HasPrefix(s, "%") {
		return "%", s[1:], nil
	}
	sub, after, err := cutSubstring(s)
	if err != nil {
		return "", "", err
	}
	mods := after[:modifiers(after)]
	name, rest, err := cutName(after[len(mods):])
	if err != nil {
		return "", "", err
	}
	if args, ok := strings.CutPrefix(name, "if;"); ok {
		text, err = evaluateIf(args, value, depth)
	} else {
		text, err = evaluate(name, value)
	}
	if err != nil {
		return "", "", err
	}
	for i := 0; i < len(mods); i++ {
		text = sub.modify(mods[i], text)
	}
	return sub.cut(text), rest, nil
}

// cutName takes a letter or {long name} off s.
func cutName(s string) (name, rest string, err error) {
	if s == "" {
		return "", "", fmt.Errorf("%% at the end stands alone: write %%%% for a percent sign")
	}
	if s[0] != '{' {
		return s[:1], s[1:], nil
	}
	depth := 0
	for end := range len(s) {
		switch s[end] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			return s[1:end], s[end+1:], nil
		}
	}
	return "", "", fmt.Errorf("%%{ without }")
}

// evaluate is the value of a variable, or the hash of one: {sha256;truncate=32:user}.
func evaluate(name string, value func(string) (string, bool)) (string, error) {
	if fn, arg, ok := strings.Cut(name, ":"); ok {
		if h, known := newVarHash(fn); known {
			text, err := evaluate(arg, value)
			if err != nil {
				return "", err
			}
			return h.sum(fn, text)
		}
	}
	text, ok := value(name)
	if !ok {
		if len(name) > 1 {
			name = "{" + name + "}"
		}
		return "", fmt.Errorf("unknown variable %%%s", short(name))
	}
	return text, nil
}
