package main

import (
	"context"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
)

// closeEpochs closes what nothing needs once everything is as it should be. A dry
// run counts as gone what it would write anew, not the old versions.
func (r *reencrypting) closeEpochs(ctx context.Context, cmd *cobra.Command, o *offline, told *progress.Progress, res *reencrypted) error {
	k := &keeping{offline: o, c: cmd, asJSON: r.json}
	if err := k.openAdmin(ctx); err != nil {
		return err
	}
	c := r.close.closing(k.alterationUnder(told), 4*r.parallel)
	if r.dry {
		c.replaced = o.volume.Reencrypt(volume.ReencryptOptions{From: r.from, Fresh: r.all, Dry: true}).Replaces
	}
	switch {
	case res.Failed > 0:
		c.doc.Refused = "objects failed"
	case !res.Settled && !r.dry:
		c.doc.Refused = "objects still change"
	default:
		if err := c.resealForClose(ctx); err != nil {
			return err
		}
		held, err := k.epochs(ctx, k.places.Within)
		if err != nil {
			return err
		}
		if err := c.run(ctx, held); err != nil {
			return err
		}
	}
	res.Epochs, res.closed = &c.doc, strings.Split(c.text(), "\n")
	return nil
}
