package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ForUser is the settings with a user's userdb fields over them. The names are
// those behind userdb_: a setting, plugin/KEY or the key of a plugin setting,
// namespace/NAME/KEY, and home and mail for mail_home and mail_location. Values
// are final: % in them is text, so where variables are expanded they are escaped.
//
// A field that is unknown, or that cannot be set for one user, gives a warning
// without a Pos. A field with a bad value, or one that would be refused in the
// file, is an error: the user must not be let in as if it were not there.
//
// s is not changed. What the fields do not touch is shared with s. The cost is
// that of the fields, so it can be called at every login.
func (s *Settings) ForUser(fields map[string]string) (*Settings, []Warning, error) {
	u := &userSettings{Settings: *s}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if err := u.field(key, fields[key]); err != nil {
			return nil, u.warnings, fmt.Errorf("userdb field %s: %w", short(key), err)
		}
	}
	if u.ownPlugin || u.plugins {
		u.finishACL()
		if err := u.finishQuota(); err != nil {
			return nil, u.warnings, err
		}
	}
	if u.ownNamespaces {
		if err := u.checkNamespaces(); err != nil {
			return nil, u.warnings, err
		}
	}
	return &u.Settings, u.warnings, nil
}

// userSettings is a Settings in the making, which belongs to one ForUser.
type userSettings struct {
	Settings
	warnings      []Warning
	plugins       bool // mail_plugins was set
	ownPlugin     bool // Plugin is a copy
	ownNamespaces bool // Namespaces is a copy
}

func (u *userSettings) warn(key, text string) error {
	u.warnings = append(u.warnings, Warning{Text: "userdb field " + short(key) + ": read and not used: " + text})
	return nil
}

func (u *userSettings) field(key, text string) error {
	switch key {
	case "uid", "gid", "system_groups_user", "user":
		return nil // they are for whoever opens files, and for the login itself
	case "home":
		key = "mail_home"
	case "mail":
		key = "mail_location"
	}
	switch {
	case strings.HasPrefix(key, "namespace/"):
		return u.namespaceField(key, text)
	case strings.HasPrefix(key, "plugin/"):
		return u.pluginField(key[len("plugin/"):], text)
	}
	row := lookup("", key)
	if row == nil {
		return u.pluginField(key, text)
	}
	text, ok, err := u.admit(row, key, text)
	if err != nil || !ok {
		return err
	}
	return u.assignRoot(row, key, text)
}

// admit says whether one user may have the value, and how it is stored.
func (u *userSettings) admit(row *Row, key, text string) (stored string, ok bool, err error) {
	if why := refusal(row, text); why != "" {
		return "", false, fmt.Errorf("refused: %s", why)
	}
	if row.Vars {
		text = strings.ReplaceAll(text, "%", "%%")
	}
	if err := checkType(row, text); err != nil {
		return "", false, err
	}
	if row.Class == Accepted {
		return "", false, u.warn(key, row.Reason)
	}
	if !row.User {
		return "", false, u.warn(key, "it cannot be set for one user")
	}
	return text, true, nil
}

func (u *userSettings) assignRoot(row *Row, key, text string) error {
	if row.bind == nil {
		return nil
	}
	if p := row.bind(&u.Settings); p != nil {
		if key == "mail_plugins" {
			u.plugins = true
			if err := checkPluginList(text); err != nil {
				return err
			}
		}
		return assign(p, text)
	}
	if err := assign(row.bind(&u.Imapc), text); err != nil {
		return err
	}
	u.copyNamespaces()
	for i := range u.Namespaces {
		if ns := &u.Namespaces[i]; !ns.own[key] {
			if err := assign(row.bind(&ns.Imapc), text); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPluginList(text string) error {
	for _, name := range words(text) {
		if err := checkPlugin(name); err != nil {
			return err
		}
	}
	return nil
}

func (u *userSettings) pluginField(key, text string) error {
	row := lookup("plugin", key)
	if row == nil {
		return u.warn(key, "there is no such setting"+nearest(key, namesIn("plugin")))
	}
	text, ok, err := u.admit(row, key, text)
	if err != nil || !ok {
		return err
	}
	if key == "acl" {
		globals, err := parseACLBackend(text)
		if err != nil {
			return err
		}
		if globals != "" && globals != u.ACL.GlobalFile {
			return fmt.Errorf("refused: all users have the same file of global rights, or none")
		}
		if globals == "" && u.ACL.GlobalFile != "" {
			return nil // the global rights hold for all
		}
	}
	if !u.ownPlugin {
		u.Plugin, u.ownPlugin = maps.Clone(u.Plugin), true
	}
	u.Plugin[key] = text
	if row.bind == nil {
		return nil
	}
	return assign(row.bind(&u.Settings), text)
}

// namespaceField sets a key of the namespace that is named, a disabled one too.
func (u *userSettings) namespaceField(key, text string) error {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) != 3 {
		return u.warn(key, "its form is namespace/NAME/KEY")
	}
	row := lookup("namespace", parts[2])
	if row == nil {
		return u.warn(key, "there is no such setting in a namespace"+nearest(parts[2], namesIn("namespace")))
	}
	ns := u.findNamespace(parts[1])
	if ns == nil {
		return u.warn(key, "there is no such namespace")
	}
	text, ok, err := u.admit(row, key, text)
	if err != nil || !ok || row.bind == nil {
		return err
	}
	if p := row.bind(ns); p != nil {
		err = assign(p, text)
		if ns.Separator == "" {
			ns.Separator = "/"
		}
		return err
	}
	return assign(row.bind(&ns.Imapc), text)
}

func (u *userSettings) copyNamespaces() {
	if !u.ownNamespaces {
		u.ownNamespaces = true
		u.Namespaces = slices.Clone(u.Namespaces)
	}
}

// findNamespace is the namespace of that name in the copy. A disabled one is
// put there first, to be looked at again when all fields are in.
func (u *userSettings) findNamespace(name string) *Namespace {
	u.copyNamespaces()
	for i := range u.Namespaces {
		if u.Namespaces[i].Name == name && name != "" {
			return &u.Namespaces[i]
		}
	}
	for i, ns := range u.disabled {
		if ns.Name == name && name != "" {
			u.disabled = slices.Delete(slices.Clone(u.disabled), i, i+1)
			u.Namespaces = append(u.Namespaces, ns)
			return &u.Namespaces[len(u.Namespaces)-1]
		}
	}
	return nil
}

// checkNamespaces drops the disabled namespaces and checks the others again, as
// Load did.
func (u *userSettings) checkNamespaces() error {
	u.Namespaces = slices.DeleteFunc(u.Namespaces, func(ns Namespace) bool { return ns.Disabled })
	if len(u.Namespaces) == 0 {
		return fmt.Errorf("no namespace is left")
	}
	p := newParser(osSource{})
	p.checkNamespaces(&u.Settings)
	p.checkImapc(&u.Settings)
	if len(p.problems) > 0 {
		return Errors(p.problems)
	}
	return nil
}
