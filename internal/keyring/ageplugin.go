package keyring

import (
	"errors"

	"filippo.io/age/plugin"
)

// pluginUI lets no plugin ask anything: a mount has nobody to answer. What
// needs a touch works, what needs a PIN gets it from the plugin's own means.
func pluginUI() *plugin.ClientUI {
	return &plugin.ClientUI{DisplayMessage: func(string, string) error { return nil }}
}

// pluginRecipient is one that age-plugin-NAME wraps for (age's C2SP plugin
// protocol); the program is looked up when it is first used.
func pluginRecipient(s string) (recipient, error) {
	r, err := plugin.NewRecipient(s, pluginUI())
	if err != nil {
		return recipient{}, errors.New("is malformed")
	}
	return recipient{r, r.String()}, nil
}

// pluginIdentity is one that age-plugin-NAME opens with; which recipient it is
// for, only the plugin knows.
func pluginIdentity(s string) (identity, error) {
	i, err := plugin.NewIdentity(s, pluginUI())
	if err != nil {
		return identity{}, errors.New("holds a malformed age plugin identity")
	}
	return identity{i, nil}, nil
}
