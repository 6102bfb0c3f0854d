//go:build tools

// Package actionlint pins what checks the workflows in .github.
package actionlint

import (
	_ "github.com/rhysd/actionlint/cmd/actionlint"
)
