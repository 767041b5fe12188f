package kms

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/awsclient"
)

// ReloadCredentials reads the sources of credentials again. An error leaves
// them as they are; requests under way keep theirs.
func (c *Client) ReloadCredentials(ctx context.Context) error {
	if err := awsclient.Reload(ctx, c.client.Options().Credentials); err != nil {
		return fmt.Errorf("kms: %w", err)
	}
	return nil
}
