package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxName is the longest user name, in bytes: names become directory names.
const MaxName = 255

// errName is the cause of every refusal of a name.
var errName = errors.New("invalid user name")

// NameConfig is the settings that decide what a user name is.
type NameConfig struct {
	Chars           string // auth_username_chars; empty: every printable character
	Translation     string // auth_username_translation: pairs of from and to
	Format          string // auth_username_format; empty: %Lu
	DefaultRealm    string // auth_default_realm
	MasterSeparator string // auth_master_user_separator: one character, or empty for none
}

// Names normalises user names. Names are compared only after it. It is immutable.
type Names struct {
	config    NameConfig
	translate *strings.Replacer
	expand    Expand
}

// Login is who is meant by one login, after normalisation.
//
// User is the owner, whose mail is opened; Acting is who asks and whose rights
// apply. They are equal in a normal login, however it was typed.
type Login struct {
	User     string
	Acting   string
	Original string // the owner's name as it was typed, for logs only
}

// Master says whether one user acts on another's mail.
func (l Login) Master() bool { return l.User != l.Acting }

// NewNames checks the settings. A nil expand means the built-in variables.
func NewNames(config NameConfig, expand Expand) (*Names, error) {
	if config.Format == "" {
		config.Format = "%Lu"
	}
	if expand == nil {
		expand = expandVariables
	}
	if utf8.RuneCountInString(config.MasterSeparator) > 1 {
		return nil, fmt.Errorf("auth_master_user_separator %q is longer than one character", config.MasterSeparator)
	}
	pairs := strings.Split(config.Translation, "")
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("auth_username_translation %q is not pairs of characters", config.Translation)
	}
	n := &Names{config: config, translate: strings.NewReplacer(pairs...), expand: expand}
	if _, err := expand(config.Format, nameValue("user@example.org")); err != nil {
		return nil, fmt.Errorf("auth_username_format: %w", err)
	}
	return n, nil
}

// Normalize is the one form of a user name: default realm, translation, allowed
// characters, format. What it returns is at most MaxName bytes of printable
// UTF-8, may be used as one directory name and as part of a dict key, and
// neither it nor its domain is "." or "..".
func (n *Names) Normalize(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if n.config.DefaultRealm != "" && !strings.Contains(name, "@") {
		name += "@" + n.config.DefaultRealm
	}
	name = n.translate.Replace(name)
	if i := strings.IndexFunc(name, n.forbidden); i >= 0 {
		return "", fmt.Errorf("%w: %q has a character that auth_username_chars does not list", errName, name)
	}
	name, err := n.expand(n.config.Format, nameValue(name))
	if err != nil {
		return "", fmt.Errorf("auth_username_format: %w", err)
	}
	return name, checkName(name)
}

// Login finds owner and acting user in what a client sent: a SASL authorization
// identity (empty: none) and authentication identity, or owner*master in the
// latter. Both forms at once are refused, and so is an empty side.
func (n *Names) Login(authzID, authID string) (Login, error) {
	owner, acting := authzID, authID
	if before, after, found := n.split(authID); found {
		if authzID != "" {
			return Login{}, fmt.Errorf("%w: %q with an authorization identity", errName, authID)
		}
		owner, acting = before, after
	} else if authzID == "" {
		owner = authID
	}
	login := Login{Original: owner}
	var err error
	if login.User, err = n.Normalize(owner); err != nil {
		return Login{}, err
	}
	if acting == owner {
		login.Acting = login.User
		return login, nil
	}
	login.Acting, err = n.Normalize(acting)
	return login, err
}

// of is Login for a request. Names that another node vouches for are what they are.
func (n *Names) of(req Request) (Login, error) {
	if !req.Delegated {
		return n.Login(req.AuthzID, req.AuthID)
	}
	for _, name := range []string{req.AuthzID, req.AuthID} {
		if normal, err := n.Normalize(name); err != nil || normal != name {
			return Login{}, fmt.Errorf("%w: %q is not in normal form here: are auth_username_format and the like the same on all nodes?", errName, name)
		}
	}
	if req.AuthzID == req.AuthID {
		return Login{}, fmt.Errorf("%w: %q would act as oneself", errName, req.AuthID)
	}
	return Login{User: req.AuthzID, Acting: req.AuthID, Original: req.AuthzID}, nil
}

func (n *Names) split(authID string) (owner, master string, found bool) {
	if n.config.MasterSeparator == "" {
		return "", "", false
	}
	return strings.Cut(authID, n.config.MasterSeparator)
}

// forbidden also refuses the separator, so that no name can be split twice.
func (n *Names) forbidden(r rune) bool {
	if string(r) == n.config.MasterSeparator {
		return true
	}
	return n.config.Chars != "" && !strings.ContainsRune(n.config.Chars, r)
}

// checkName refuses what no configuration may allow: invisible characters, which
// break line-based files, and names that would leave a directory when %u, %n or
// %d becomes part of a path.
func checkName(name string) error {
	local, domain, hasDomain := strings.Cut(name, "@")
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", errName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: longer than %d bytes", errName, MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not UTF-8", errName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%w: %q has an unprintable character", errName, name)
	case strings.Contains(name, "/"):
		return fmt.Errorf("%w: %q has a slash", errName, name)
	case dots(name) || dots(local) || dots(domain):
		return fmt.Errorf("%w: %q is a relative path", errName, name)
	case hasDomain && (local == "" || domain == ""):
		return fmt.Errorf("%w: %q has an empty part", errName, name)
	}
	return nil
}

func dots(s string) bool { return s == "." || s == ".." }

// nameValue is the variables of a name alone: %u %n %d and their words.
func nameValue(name string) Value {
	return func(variable string) (string, bool) { return nameVariable(name, variable) }
}

func nameVariable(name, variable string) (string, bool) {
	switch variable {
	case "u", "user":
		return name, true
	case "n", "username":
		local, _, _ := strings.Cut(name, "@")
		return local, true
	case "d", "domain":
		_, domain, _ := strings.Cut(name, "@")
		return domain, true
	}
	return "", false
}
