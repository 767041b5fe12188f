package main

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/spf13/cobra"
)

// keyKinds are what keygen makes.
func keyKinds() []string {
	return []string{keyring.KindAES, keyring.KindAge, keyring.KindSSEC, keyring.KindSign}
}

func newKeygen() *cobra.Command {
	var kind, output string
	cmd := &cobra.Command{
		Use:   "keygen [--kind aes|age|ssec|sign] -o FILE",
		Short: "Make a new key",
		Long: `keygen writes a new key to FILE, mode 0600, and prints its id. A file that
exists is never overwritten.

    aes    a 256-bit key, for mount --encryption client --key file:FILE (default)
    age    an age identity, for --key file:FILE; its recipient, which is printed
           too, is for hosts that may write but not read: --key age:RECIPIENT
    ssec   a key for SSE-C, for mount --encryption sse-c --key file:FILE
    sign   a key to sign epochs, which comes later`,
		Args: arguments(0, "sigilfs keygen -o FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(keyKinds(), kind) {
				return usageError("--kind %s is not one of %s", kind, strings.Join(keyKinds(), ", "))
			}
			return keygen(c, kind, output)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", keyring.KindAES, "`KIND` of key: aes, age, ssec or sign")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to make")
	return cmd
}

func keygen(c *cobra.Command, kind, output string) error {
	switch output {
	case "":
		return usageError("keygen needs the file to make: sigilfs keygen -o main.key")
	case "-":
		return usageError("a key is not written to stdout, where it would stay in terminals and logs; name a file, on /dev/shm if it must not touch the disk")
	}
	public, err := keyring.Generate(kind, output, time.Now())
	switch {
	case errors.Is(err, fs.ErrExist):
		return systemError("%s exists already and a key is never overwritten; choose another name", output)
	case err != nil:
		return systemError("%w", err)
	}
	text := public.ID + "\n"
	if public.Recipient != "" {
		text += public.Recipient + "\n"
	}
	_, err = io.WriteString(c.OutOrStdout(), text)
	say(c.ErrOrStderr(), output+" holds the only copy of this key: keep another one elsewhere, without it everything encrypted under it is lost")
	return err
}
