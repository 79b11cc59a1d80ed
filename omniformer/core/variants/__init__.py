"""Parts of cores that no default and no published model uses: approximations, baselines and ideas to compare with."""
